// rpc/pace.cc - a share for each turn, and a queue.
#include "rpc/pace.h"

namespace nebula {

void Pace::spend(size_t bytes) {
  left_ -= static_cast<int64_t>(bytes);
  if (!may_go()) turn_later();
}

void Pace::wait(Fn<void()> then) {
  waiting_.push_back(std::move(then));
  turn_later();
}

void Pace::turn_later() {
  if (timer_ != nullptr) return;
  timer_ = loop_.after(Duration{}, [this] { turn(); });
}

void Pace::turn() {
  timer_.reset();
  left_ = limits::inflated_bytes_a_turn;
  while (may_go() && !waiting_.empty()) {
    Fn<void()> then = std::move(waiting_.front());
    waiting_.pop_front();
    then();
  }
  if (!waiting_.empty()) turn_later();
}

}  // namespace nebula
