// http2/body_queue.h - pieces of a body that wait to be sent. Most have one, which costs no memory of its own.
#pragma once

#include <deque>
#include <memory>
#include <utility>

#include "base/bytes.h"

namespace nebula {

class BodyQueue {
 public:
  size_t bytes() const { return bytes_; }
  size_t pieces() const { return first_.empty() ? 0 : 1 + (more_ == nullptr ? 0 : more_->size()); }

  void push(Bytes data) {  // not empty
    bytes_ += data.size();
    if (first_.empty()) {
      first_ = std::move(data);
    } else {
      if (more_ == nullptr) more_ = std::make_unique<std::deque<Bytes>>();
      more_->push_back(std::move(data));
    }
  }

  // The next bytes, `size_max` at most; not of an empty one.
  Bytes pop(size_t size_max) {
    if (first_.size() > size_max) {
      bytes_ -= size_max;
      Bytes part = first_.slice(0, size_max);
      first_ = first_.slice(size_max, first_.size() - size_max);
      return part;
    }
    bytes_ -= first_.size();
    Bytes next;
    if (more_ != nullptr && !more_->empty()) {
      next = std::move(more_->front());
      more_->pop_front();
    }
    return std::exchange(first_, std::move(next));
  }

 private:
  Bytes first_;
  std::unique_ptr<std::deque<Bytes>> more_;
  size_t bytes_ = 0;
};

}  // namespace nebula
