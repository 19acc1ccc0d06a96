// base/assert.h - what must hold, checked in release builds too.
//
// For bugs only: whatever a peer, a user or the system can cause is a Status.
#pragma once

namespace nebula {

[[noreturn]] void assert_failed(const char* what, const char* file, int line);

}  // namespace nebula

#define NEBULA_ASSERT(condition)                                              \
  do {                                                                        \
    if (!(condition)) ::nebula::assert_failed(#condition, __FILE__, __LINE__); \
  } while (false)
