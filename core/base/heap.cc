// base/heap.cc - glibc's malloc; others are left as they are.
#include "base/heap.h"

#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace nebula {

// mallopt would end malloc's own adjusting for the whole program. It takes its bound for the end of the heap from the
// largest block that was ever freed (M_MMAP_THRESHOLD in mallopt(3)): twice that. So such a block is freed.
void heap_keep() {
#ifdef __GLIBC__
  static constexpr size_t block_bytes = 1u << 20;
  void* volatile block = std::malloc(block_bytes);  // volatile: the pair of calls may not be left out
  std::free(block);
#endif
}

void heap_give_back() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace nebula
