// loop/anchor.h - Anchor: lets a function that runs later find out whether its object still lives.
//
// An object may be destroyed inside its own event, and functions given to Loop::later can't be taken back. Both hold a
// Ref and ask it. Counted without atomics: a Ref never leaves the loop of its object.
#pragma once

#include <cstdint>
#include <utility>

#include "base/pool.h"

namespace nebula {

template <class T>
class Anchor {
  struct Node : Pooled {
    T* object;
    uint32_t count;
    void release() {
      if (--count == 0) delete this;
    }
  };

 public:
  class Ref {
   public:
    explicit Ref(Node* node) : node_(node) { node_->count++; }
    Ref(const Ref& other) : Ref(other.node_) {}
    Ref(Ref&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
      std::swap(node_, other.node_);
      return *this;
    }
    ~Ref() {
      if (node_ != nullptr) node_->release();
    }
    T* get() const { return node_->object; }  // null: gone

   private:
    Node* node_;
  };

  explicit Anchor(T& object) : node_(new Node{{}, &object, 1}) {}
  Anchor(const Anchor&) = delete;
  Anchor& operator=(const Anchor&) = delete;
  ~Anchor() {
    node_->object = nullptr;
    node_->release();
  }

  Ref ref() const { return Ref(node_); }

 private:
  Node* node_;
};

}  // namespace nebula
