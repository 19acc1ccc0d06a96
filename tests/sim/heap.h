// sim/heap.h - how much memory the program holds, exactly: what was allocated and not yet freed, by whomever.
//
// Counts every malloc and free of the process, those of nghttp2 included. For one thread.
#pragma once

#include <cstdint>

namespace nebula::sim {

struct Heap {
  int64_t bytes = 0;
  int64_t blocks = 0;
  bool operator==(const Heap&) const = default;
};

Heap heap_now();

}  // namespace nebula::sim
