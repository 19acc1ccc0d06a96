// http2/stream_table.h - streams by their ids: open addressing, nothing before the first.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>

namespace nebula {

class H2Stream;

class StreamTable {
 public:
  H2Stream* find(uint32_t id) const {  // null: there is none
    if (count_ == 0) return nullptr;
    for (uint32_t at = place(id);; at = next(at))
      if (slots_[at].id == id || slots_[at].id == 0) return slots_[at].stream;
  }

  void add(uint32_t id, H2Stream* stream) {
    if (2 * (count_ + 1) > size_) resize(size_ == 0 ? 8 : 2 * size_);
    put({id, stream});
    count_++;
  }

  void remove(uint32_t id) {  // which must be there
    uint32_t hole = place(id);
    while (slots_[hole].id != id) hole = next(hole);
    // What was pushed aside moves up.
    for (uint32_t at = next(hole); slots_[at].id != 0; at = next(at)) {
      if (((at - place(slots_[at].id)) & (size_ - 1)) < ((at - hole) & (size_ - 1))) continue;
      slots_[hole] = slots_[at];
      hole = at;
    }
    slots_[hole] = {};
    if (--count_ == 0 && size_ > kept_when_empty) slots_.reset(), size_ = 0;
  }

 private:
  struct Slot {
    uint32_t id = 0;
    H2Stream* stream = nullptr;
  };
  static constexpr uint32_t kept_when_empty = 64;

  // Ids follow one another; multiplied by the golden ratio they spread, and a peer's choice of them matters little.
  uint32_t place(uint32_t id) const { return (id * 2'654'435'769u) >> (32 - std::countr_zero(size_)); }
  uint32_t next(uint32_t at) const { return (at + 1) & (size_ - 1); }

  void put(const Slot& slot) {
    uint32_t at = place(slot.id);
    while (slots_[at].id != 0) at = next(at);
    slots_[at] = slot;
  }

  void resize(uint32_t size) {
    std::unique_ptr<Slot[]> old = std::exchange(slots_, std::make_unique<Slot[]>(size));
    uint32_t old_size = std::exchange(size_, size);
    for (uint32_t i = 0; i < old_size; i++)
      if (old[i].id != 0) put(old[i]);
  }

  std::unique_ptr<Slot[]> slots_;
  uint32_t size_ = 0;  // a power of two
  uint32_t count_ = 0;
};

}  // namespace nebula
