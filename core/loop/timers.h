// loop/timers.h - the timers of one loop, earliest first.
//
// An indexed binary heap: each call has a deadline and nearly all are cancelled, so adding and cancelling must stay
// cheap with many thousands. Knows no clock: time comes in. Owned by a loop.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "loop/loop.h"

namespace nebula {

class Timers {
 public:
  Timers() = default;
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;
  ~Timers();  // timers that are still held by their owners never run

  // Of timers due at the same time the one with the smaller `tie` runs first.
  std::unique_ptr<Timer> add(Time due, uint64_t tie, Fn<void()> then);

  Time earliest() const { return heap_.empty() ? Time::never() : heap_.front().due; }
  uint64_t earliest_tie() const { return heap_.front().tie; }  // not when empty
  Fn<void()> take_earliest();                                  // not when empty; its Timer is over then
  size_t size() const { return heap_.size(); }

 private:
  class Entry;

  // Due and tie stand beside the pointer, so that comparing touches no other memory.
  struct Place {
    Time due;
    uint64_t tie;
    Entry* entry;
    bool before(const Place& other) const { return due != other.due ? due < other.due : tie < other.tie; }
  };

  void remove(size_t index);
  void put(size_t index, const Place& place);
  void rise(size_t index);
  void sink(size_t index);

  std::vector<Place> heap_;
};

}  // namespace nebula
