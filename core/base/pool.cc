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

void Pool::close() {
  free_bytes_max_ = 0;
  clear();
}

#ifdef NEBULA_SANITIZED

void* pool_take(size_t size) { return std::malloc(size); }
void pool_give(void* block, size_t) { std::free(block); }
void pool_clear() {}

#else

namespace {

// Without a destructor, which every access would ask whether it is to be called.
constinit thread_local Pool pool;

struct Closing {
  ~Closing() { pool.close(); }
};

}  // namespace

void* pool_take(size_t size) { return pool.take(size); }

void pool_give(void* block, size_t size) {
  // A thread that ends gives back what it has; what is freed after that is not kept.
  if (pool.free_bytes() == 0) {
    thread_local Closing closing;
    static_cast<void>(closing);
  }
  pool.give(block, size);
}

void pool_clear() { pool.clear(); }

#endif

void* Pooled::operator new(size_t size) {
  void* object = pool_take(size);
  NEBULA_ASSERT(object != nullptr);
  return object;
}

}  // namespace nebula
