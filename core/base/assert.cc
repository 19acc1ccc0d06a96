// base/assert.cc - the end of a process that has found a bug in itself.
#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace nebula {

void assert_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "nebula: %s:%d: this must hold: %s\n", file, line, what);
  std::abort();
}

}  // namespace nebula
