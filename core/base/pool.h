// base/pool.h - Pool: the memory of small things that come and go with every call, kept for the next ones.
//
// A turn makes a hundred calls and then ends a hundred, which is more than malloc's own caches of a thread hold: it takes
// 150 instructions for each block that it has to take apart or join, where this takes ten. Each thread has a pool; what
// another thread frees stays there. Sanitizers see every block, so there is none under them.
#pragma once

#include <array>
#include <cstddef>

#include "base/assert.h"
#include "base/limits.h"

namespace nebula {

// One thread's. Blocks of like sizes are all alike, and those that are free form a list.
class Pool {
 public:
  static constexpr size_t step_bytes = 64;
  static constexpr size_t block_bytes_max = 1024;  // larger ones are malloc's

  explicit constexpr Pool(size_t free_bytes_max = limits::pool_bytes_max) : free_bytes_max_(free_bytes_max) {}

  void* take(size_t size);              // null: there is no memory
  void give(void* block, size_t size);  // what was asked for; not null
  void clear();                         // gives all that is free back to malloc

  size_t free_bytes() const { return free_bytes_; }

 private:
  struct Free {
    Free* next;
  };

  static constexpr size_t class_of(size_t size) { return (size - 1) / step_bytes; }

  std::array<Free*, block_bytes_max / step_bytes> free_{};
  size_t free_bytes_ = 0;
  const size_t free_bytes_max_;
};

// Of the calling thread.
void* pool_take(size_t size);
void pool_give(void* block, size_t size);
void pool_clear();

// A class of objects that are made and destroyed with each call. A derived class's destructor is virtual, or it is final.
struct Pooled {
  static void* operator new(size_t size);
  static void operator delete(void* object, size_t size) { pool_give(object, size); }
};

// For the containers of the standard library whose nodes come and go with each call.
template <class T>
struct PoolAllocator {
  using value_type = T;

  PoolAllocator() = default;
  template <class Other>
  PoolAllocator(const PoolAllocator<Other>&) {}

  T* allocate(size_t count) {
    void* memory = pool_take(count * sizeof(T));
    NEBULA_ASSERT(memory != nullptr);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t count) { pool_give(memory, count * sizeof(T)); }
  bool operator==(const PoolAllocator&) const { return true; }
};

}  // namespace nebula
