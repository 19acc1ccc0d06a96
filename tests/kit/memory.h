// kit/memory.h - how much is allocated at this moment, to see what a peer can make us allocate.
#pragma once

#include <malloc.h>

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
// Of the sanitizer's run-time library; its header is not installed everywhere.
extern "C" size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace nebula::kit {

inline size_t allocated_bytes() {
#ifdef __SANITIZE_ADDRESS__
  return __sanitizer_get_current_allocated_bytes();
#else
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
#endif
}

}  // namespace nebula::kit
