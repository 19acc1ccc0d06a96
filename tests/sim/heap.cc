// sim/heap.cc - counts through the sanitizer's hooks where there is one, else by standing in front of glibc's malloc.
//
// mallinfo2 would not do: what malloc keeps in its per-thread cache counts as used there.
#include "sim/heap.h"

#include <malloc.h>

#include <cerrno>
#include <cstddef>

#include "base/pool.h"

namespace nebula::sim {

namespace {
Heap heap;
}

Heap heap_now() {
  // A pool's first block makes the C library note the thread's end, and what it keeps for later is no leak.
  pool_give(pool_take(1), 1);
  pool_clear();
  return heap;
}

}  // namespace nebula::sim

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

// GCC does not bring sanitizer/allocator_interface.h.
extern "C" {

int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                              void (*on_free)(const volatile void*));
int __sanitizer_get_ownership(const volatile void* memory);
size_t __sanitizer_get_allocated_size(const volatile void* memory);

}  // extern "C"

namespace {

void count_malloc(const volatile void* memory, size_t) {
  nebula::sim::heap.bytes += static_cast<int64_t>(__sanitizer_get_allocated_size(memory));
  nebula::sim::heap.blocks++;
}

void count_free(const volatile void* memory) {
  if (memory == nullptr || !__sanitizer_get_ownership(memory)) return;
  nebula::sim::heap.bytes -= static_cast<int64_t>(__sanitizer_get_allocated_size(memory));
  nebula::sim::heap.blocks--;
}

[[maybe_unused]] const int installed = __sanitizer_install_malloc_and_free_hooks(count_malloc, count_free);

}  // namespace

#else

extern "C" {

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);

}  // extern "C"

namespace {

void* add(void* memory) {
  if (memory == nullptr) return nullptr;
  nebula::sim::heap.bytes += static_cast<int64_t>(malloc_usable_size(memory));
  nebula::sim::heap.blocks++;
  return memory;
}

void subtract(void* memory) {
  if (memory == nullptr) return;
  nebula::sim::heap.bytes -= static_cast<int64_t>(malloc_usable_size(memory));
  nebula::sim::heap.blocks--;
}

}  // namespace

#define NEBULA_SIM_EXPORT extern "C" __attribute__((visibility("default")))

NEBULA_SIM_EXPORT void* malloc(size_t size) { return add(__libc_malloc(size)); }
NEBULA_SIM_EXPORT void* calloc(size_t count, size_t size) { return add(__libc_calloc(count, size)); }
NEBULA_SIM_EXPORT void* memalign(size_t alignment, size_t size) { return add(__libc_memalign(alignment, size)); }
NEBULA_SIM_EXPORT void* aligned_alloc(size_t alignment, size_t size) { return add(__libc_memalign(alignment, size)); }

NEBULA_SIM_EXPORT void* realloc(void* memory, size_t size) {
  subtract(memory);
  void* moved = __libc_realloc(memory, size);
  if (moved == nullptr && size > 0) return add(memory), nullptr;  // no memory: the old block stays
  return add(moved);
}

NEBULA_SIM_EXPORT int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = add(__libc_memalign(alignment, size));
  return *memory == nullptr ? ENOMEM : 0;
}

NEBULA_SIM_EXPORT void free(void* memory) {
  subtract(memory);
  __libc_free(memory);
}

#endif
