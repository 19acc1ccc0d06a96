// base/fn.h - Fn: a callable that moves.
//
// std::function demands copies, so a Done or a unique_ptr could not ride inside; std::move_only_function is C++23.
// A callable of up to three words lives inside the Fn, a larger one in the pool.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "base/assert.h"
#include "base/pool.h"

namespace nebula {

template <class Signature>
class Fn;

template <class R, class... Args>
class Fn<R(Args...)> {
 public:
  Fn() = default;
  Fn(std::nullptr_t) {}

  template <class F>
    requires(!std::is_same_v<std::decay_t<F>, Fn> && std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
  Fn(F&& callable) {
    using Callable = std::decay_t<F>;
    if constexpr (fits<Callable>()) {
      new (room_) Callable(std::forward<F>(callable));
      verbs_ = &inline_verbs<Callable>;
    } else {
      new (room_) Boxed<Callable>*(new Boxed<Callable>{{}, std::forward<F>(callable)});
      verbs_ = &boxed_verbs<Callable>;
    }
  }

  Fn(Fn&& other) noexcept { take(other); }
  Fn& operator=(Fn&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  ~Fn() { clear(); }

  explicit operator bool() const { return verbs_ != nullptr; }

  R operator()(Args... args) {
    NEBULA_ASSERT(verbs_ != nullptr);
    return verbs_->call(room_, std::forward<Args>(args)...);
  }

 private:
  struct Verbs {
    R (*call)(void* room, Args&&... args);
    void (*move)(void* from, void* to);  // leaves nothing at from
    void (*destroy)(void* room);
  };

  template <class Callable>
  static constexpr bool fits() {
    return sizeof(Callable) <= sizeof(room_) && alignof(Callable) <= alignof(void*) &&
           std::is_nothrow_move_constructible_v<Callable>;
  }

  template <class Callable>
  static constexpr Verbs inline_verbs = {
      [](void* room, Args&&... args) -> R { return (*static_cast<Callable*>(room))(std::forward<Args>(args)...); },
      [](void* from, void* to) {
        Callable* source = static_cast<Callable*>(from);
        new (to) Callable(std::move(*source));
        source->~Callable();
      },
      [](void* room) { static_cast<Callable*>(room)->~Callable(); },
  };

  template <class Callable>
  struct Boxed : Pooled {
    static_assert(alignof(Callable) <= alignof(std::max_align_t));
    Callable callable;
  };

  template <class Callable>
  static constexpr Verbs boxed_verbs = {
      [](void* room, Args&&... args) -> R {
        return (*static_cast<Boxed<Callable>**>(room))->callable(std::forward<Args>(args)...);
      },
      [](void* from, void* to) { new (to) Boxed<Callable>*(*static_cast<Boxed<Callable>**>(from)); },
      [](void* room) { delete *static_cast<Boxed<Callable>**>(room); },
  };

  void take(Fn& other) {
    if (other.verbs_ == nullptr) return;
    other.verbs_->move(other.room_, room_);
    verbs_ = std::exchange(other.verbs_, nullptr);
  }

  void clear() {
    if (verbs_ != nullptr) std::exchange(verbs_, nullptr)->destroy(room_);
  }

  const Verbs* verbs_ = nullptr;
  alignas(void*) unsigned char room_[3 * sizeof(void*)];
};

}  // namespace nebula
