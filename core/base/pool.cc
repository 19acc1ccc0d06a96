// base/pool.cc - lists of free blocks, by size.
#include "base/pool.h"

#include <cstdlib>

namespace nebula {

void* Pool::take(size_t size) {
  if (size > block_bytes_max) return std::malloc(size);
  size_t which = class_of(size);
  Free* block = free_[which];
  size_t whole = (which + 1) * step_bytes;
  if (block == nullptr) return std::malloc(whole);
  free_[which] = block->next;
  free_bytes_ -= whole;
  return block;
}

void Pool::give(void* block, size_t size) {
  size_t which = class_of(size);
  size_t whole = (which + 1) * step_bytes;
  if (size > block_bytes_max || free_bytes_ + whole > free_bytes_max_) return std::free(block);
  Free* free = static_cast<Free*>(block);
  free->next = free_[which];
  free_[which] = free;
  free_bytes_ += whole;
}

void Pool::clear() {
  for (Free*& first : free_)
    while (Free* block = first) {
      first = block->next;
      std::free(block);
    }
  free_bytes_ = 0;
}

#ifdef NEBULA_SANITIZED

void* pool_take(size_t size) { return std::malloc(size); }
void pool_give(void* block, size_t) { std::free(block); }
void pool_clear() {}

#else

namespace {

// Of threads that are about to end: keeps nothing, so that any number of them may use it.
constinit Pool none(0);

// The model that takes one instruction, and not a call, for each access. It needs room in the static block of every
// thread, also where the library is loaded late (dlopen(3)); so this is a pointer, and not the pool.
[[gnu::tls_model("initial-exec")]] constinit thread_local Pool* pool = nullptr;

// A thread that ends gives back what it has; what is freed after that is not kept.
struct Owner {
  Owner() { pool = &mine; }
  ~Owner() {
    pool = &none;
    mine.clear();
  }
  Pool mine;
};

Pool& own() {
  if (pool == nullptr) [[unlikely]] {
    thread_local Owner owner;
    static_cast<void>(owner);
  }
  return *pool;
}

}  // namespace

void* pool_take(size_t size) { return own().take(size); }
void pool_give(void* block, size_t size) { own().give(block, size); }
void pool_clear() { own().clear(); }

#endif

void* Pooled::operator new(size_t size) {
  void* object = pool_take(size);
  NEBULA_ASSERT(object != nullptr);
  return object;
}

}  // namespace nebula
