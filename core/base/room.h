// base/room.h - how much may still be kept for a peer that does not read.
#pragma once

#include <atomic>
#include <cstddef>

#include "base/status.h"

namespace nebula {

// Its owner counts, on one loop. Any thread may look, and so need not copy what would be refused; what it sees may
// have changed when its message gets to the loop, so the owner looks again.
class Room {
 public:
  explicit Room(size_t most) : most_(most) {}

  void keep(size_t bytes) { kept_.store(kept() + bytes, std::memory_order_relaxed); }
  void release(size_t bytes) { kept_.store(kept() - bytes, std::memory_order_relaxed); }
  void limit(size_t most) { most_.store(most, std::memory_order_relaxed); }

  size_t kept() const { return kept_.load(std::memory_order_relaxed); }
  // One alone always has.
  bool has(size_t bytes) const { return kept() == 0 || kept() + bytes <= most_.load(std::memory_order_relaxed); }

 private:
  std::atomic<size_t> kept_{0};
  std::atomic<size_t> most_;
};

Status no_room_for(size_t bytes);

}  // namespace nebula
