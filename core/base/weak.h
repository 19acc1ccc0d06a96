// base/weak.h - how a closure finds an object again that may have gone meanwhile.
//
// The object holds an Anchor; a closure put off with Loop::later or given to a stranger holds a Weak instead of a
// bare pointer. One loop, so nothing is counted atomically.
#pragma once

#include <utility>

namespace nebula {

template <class T>
class Weak {
 public:
  T* get() const { return cell_->object; }  // null: gone

  Weak(const Weak& other) : cell_(other.cell_) { cell_->count++; }
  Weak(Weak&& other) noexcept : cell_(std::exchange(other.cell_, nullptr)) {}
  Weak& operator=(Weak other) noexcept {
    std::swap(cell_, other.cell_);
    return *this;
  }
  ~Weak() {
    if (cell_ != nullptr && --cell_->count == 0) delete cell_;
  }

 private:
  template <class U>
  friend class Anchor;

  struct Cell {
    T* object;
    unsigned count;
  };
  explicit Weak(T* object) : cell_(new Cell{object, 1}) {}

  Cell* cell_;
};

template <class T>
class Anchor {
 public:
  explicit Anchor(T* object) : weak_(object) {}
  Anchor(const Anchor&) = delete;
  Anchor& operator=(const Anchor&) = delete;
  ~Anchor() { weak_.cell_->object = nullptr; }

  Weak<T> weak() const { return weak_; }

 private:
  Weak<T> weak_;
};

}  // namespace nebula
