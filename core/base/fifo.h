// base/fifo.h - Fifo<T>: first in, first out, in one piece of memory.
//
// std::deque takes 600 bytes before its first element, and gives each of its chunks back as it is read. This takes
// nothing while it is empty, and once emptied keeps its memory for what comes next, up to `kept_bytes`.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace nebula {

template <class T, size_t kept_bytes = 4096>
class Fifo {
 public:
  bool empty() const { return first_ == items_.size(); }
  size_t size() const { return items_.size() - first_; }
  T& front() { return items_[first_]; }  // not when empty

  void push(T item) {
    // Rather than to grow, it moves up over what was taken; not before that is half of all, so that each is moved once.
    if (items_.size() == items_.capacity() && first_ > items_.size() / 2) {
      items_.erase(items_.begin(), items_.begin() + static_cast<ptrdiff_t>(first_));
      first_ = 0;
    }
    items_.push_back(std::move(item));
  }

  T pop() {  // not when empty
    T item = std::move(items_[first_++]);
    if (empty()) clear();
    return item;
  }

  void clear() {
    first_ = 0;
    if (items_.capacity() * sizeof(T) <= kept_bytes)
      items_.clear();
    else
      items_ = std::vector<T>();
  }

 private:
  std::vector<T> items_;
  size_t first_ = 0;  // those before it were taken
};

}  // namespace nebula
