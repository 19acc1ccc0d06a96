// rpc/pace.h - Pace: inflates so much in one turn of the loop, and no more.
//
// A thousand bombs fit into what one read brings, and each may cost milliseconds: the others of the loop must not wait
// for all of them. Lives on one loop, owned by a Server.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "base/limits.h"
#include "loop/loop.h"

namespace nebula {

class Pace {
 public:
  explicit Pace(Loop& loop) : loop_(loop) {}

  bool may_go() const { return left_ > 0; }  // else wait() first
  void spend(size_t bytes);                  // may be more than was left: a message is not cut in two
  void wait(Fn<void()> then);                // runs in a later turn, in order, when it may go

 private:
  void turn();
  void turn_later();

  Loop& loop_;
  int64_t left_ = limits::inflated_bytes_a_turn;
  std::deque<Fn<void()>> waiting_;
  std::unique_ptr<Timer> timer_;
};

}  // namespace nebula
