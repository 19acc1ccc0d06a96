// loop/timers.cc - the heap; every entry knows its place, so that it can leave from anywhere.
#include "loop/timers.h"

#include "base/assert.h"
#include "base/pool.h"

namespace nebula {

class Timers::Entry final : public Timer, public Pooled {
 public:
  Entry(Timers& timers, Fn<void()> then) : timers_(&timers), then_(std::move(then)) {}
  ~Entry() override {
    if (timers_ != nullptr) timers_->remove(index_);
  }

 private:
  friend Timers;
  Timers* timers_;  // null: it has run, or the loop is gone
  size_t index_ = 0;
  Fn<void()> then_;
};

Timers::~Timers() {
  for (const Place& place : heap_) place.entry->timers_ = nullptr;
}

std::unique_ptr<Timer> Timers::add(Time due, uint64_t tie, Fn<void()> then) {
  std::unique_ptr<Entry> entry = std::make_unique<Entry>(*this, std::move(then));
  heap_.push_back({due, tie, entry.get()});
  entry->index_ = heap_.size() - 1;
  rise(entry->index_);
  return entry;
}

Fn<void()> Timers::take_earliest() {
  NEBULA_ASSERT(!heap_.empty());
  // The function leaves its entry, because it may destroy the entry.
  Fn<void()> then = std::move(heap_.front().entry->then_);
  remove(0);
  return then;
}

void Timers::remove(size_t index) {
  heap_[index].entry->timers_ = nullptr;
  Place last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  put(index, last);
  rise(index);
  sink(last.entry->index_);
}

void Timers::put(size_t index, const Place& place) {
  heap_[index] = place;
  place.entry->index_ = index;
}

void Timers::rise(size_t index) {
  Place place = heap_[index];
  while (index > 0) {
    size_t parent = (index - 1) / 2;
    if (!place.before(heap_[parent])) break;
    put(index, heap_[parent]);
    index = parent;
  }
  put(index, place);
}

void Timers::sink(size_t index) {
  Place place = heap_[index];
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1].before(heap_[child])) child++;
    if (!heap_[child].before(place)) break;
    put(index, heap_[child]);
    index = child;
  }
  put(index, place);
}

}  // namespace nebula
