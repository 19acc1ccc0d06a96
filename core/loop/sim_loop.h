// loop/sim_loop.h - a loop in virtual time, whose every run follows from one seed.
//
// Promised orders are kept: `later` and `post` are first in, first out, and no timer runs early. Where none is promised
// the seed decides: between timers that are due at the same time, and between a timer that is due and a post. Time
// stands still while there is something to do, and then jumps to the next timer. One thread only.
#pragma once

#include <deque>

#include "base/random.h"
#include "loop/loop.h"
#include "loop/timers.h"

namespace nebula {

class SimLoop final : public Loop {
 public:
  explicit SimLoop(uint64_t seed) : random_(seed) {}
  ~SimLoop() override;

  Time now() const override { return now_; }
  std::unique_ptr<Timer> after(Duration wait, Fn<void()> then) override;
  void later(Fn<void()> then) override { later_.push_back(std::move(then)); }
  void post(Fn<void()> then) override { posted_.push_back(std::move(then)); }
  std::unique_ptr<FdWatch> watch(int fd, Fn<void()> readable) override;  // a bug: a simulation has no descriptors

  // One turn: one post or one timer, and what it put off. False: nothing is left to do, now or later.
  bool run_one();

  // All turns until then; now() is that time in the end.
  void run_until(Time end);
  void run_for(Duration length) { run_until(now_ + length); }

  // True: nothing is left. False: it was not after so many turns.
  bool run_until_idle(size_t turns_max);

  // For looking for leaks: what still waits.
  size_t timer_count() const { return timers_.size(); }
  size_t post_count() const { return posted_.size() + later_.size(); }

 private:
  bool run_one_until(Time end);
  void run_later();

  Random random_;
  Time now_{sec(1000).ns};  // not 0, which code could take for "not set"
  Timers timers_;
  std::deque<Fn<void()>> posted_;
  std::deque<Fn<void()>> later_;
  uint64_t turns_at_now_ = 0;
};

}  // namespace nebula
