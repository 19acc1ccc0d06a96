// base/slots.h - ids for objects: a stale id finds nothing, and never something else.
//
// An id is generation (29 bits) and slot (24 bits): below 2^53, so that a JavaScript number holds it; never 0. Slots
// are reused first-in first-out, so that a generation lives long. Not synchronised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/assert.h"

namespace nebula {

template <class T>
class Slots {
 public:
  static constexpr int slot_bits = 24;
  static constexpr uint64_t generation_max = (uint64_t{1} << 29) - 1;

  // 0 when all 2^24 slots are in use.
  uint64_t add(T value) {
    uint32_t slot = 0;
    // A freed slot rests until others were freed after it.
    if (free_.size() > resting_min || (slots_.size() >> slot_bits) != 0) {
      if (free_.empty()) return 0;
      slot = free_.front();
      free_.pop_front();
    } else {
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    }
    Slot& entry = slots_[slot];
    entry.value = std::move(value);
    entry.used = true;
    return id_of(slot);
  }

  // Null when the id is stale or was never given.
  T* find(uint64_t id) {
    uint64_t slot = id & ((uint64_t{1} << slot_bits) - 1);
    if (slot >= slots_.size()) return nullptr;
    Slot& entry = slots_[slot];
    return entry.used && id_of(static_cast<uint32_t>(slot)) == id ? &entry.value : nullptr;
  }

  bool remove(uint64_t id) {
    if (find(id) == nullptr) return false;
    uint32_t slot = static_cast<uint32_t>(id & ((uint64_t{1} << slot_bits) - 1));
    Slot& entry = slots_[slot];
    entry.value = T();
    entry.used = false;
    entry.generation = entry.generation == generation_max ? 1 : entry.generation + 1;
    free_.push_back(slot);
    return true;
  }

  template <class Which>
  void remove_if(Which which) {
    for (uint32_t slot = 0; slot < slots_.size(); slot++)
      if (slots_[slot].used && which(slots_[slot].value)) remove(id_of(slot));
  }

  size_t size() const { return slots_.size() - free_.size(); }

 private:
  static constexpr size_t resting_min = 1024;

  struct Slot {
    T value{};
    uint64_t generation = 1;
    bool used = false;
  };

  uint64_t id_of(uint32_t slot) const { return (slots_[slot].generation << slot_bits) | slot; }

  std::deque<Slot> slots_;  // a deque: growing moves nothing
  std::deque<uint32_t> free_;
};

}  // namespace nebula
