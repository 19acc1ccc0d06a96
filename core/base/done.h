// base/done.h - Done<T>: an answer that is given exactly once and cannot be lost.
//
// Whoever holds a Done owes the answer. Dropping it unanswered answers `internal`, so that no call hangs because a
// path forgot it. An answer may run before the verb that took the Done returns: handing one on is the last thing a
// function does.
#pragma once

#include "base/fn.h"
#include "base/result.h"

namespace nebula {

template <class T>
class Done {
 public:
  Done() = default;

  template <class F>
    requires(!std::is_same_v<std::decay_t<F>, Done> && std::is_invocable_v<std::decay_t<F>&, Result<T>>)
  Done(F&& then) : then_(std::forward<F>(then)) {}

  Done(Done&&) = default;
  Done& operator=(Done&& other) {
    if (this != &other) {
      drop();
      then_ = std::move(other.then_);
    }
    return *this;
  }
  ~Done() { drop(); }

  explicit operator bool() const { return static_cast<bool>(then_); }

  void operator()(Result<T>&& result) {
    Fn<void(Result<T>&&)> then = std::move(then_);
    then(std::move(result));
  }

 private:
  void drop() {
    if (then_) (*this)(Result<T>(internal("dropped without an answer")));
  }

  Fn<void(Result<T>&&)> then_;
};

}  // namespace nebula
