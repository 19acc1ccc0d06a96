// service/widening.cc - one dial at a time, and growing pauses.
#include "service/widening.h"

#include <algorithm>

#include "base/assert.h"
#include "base/random.h"
#include "transport/network.h"

namespace nebula {

namespace {

// Nothing was lost for so long: what was before says nothing. Longer than the longest pause with a dial into nothing.
constexpr Duration memory = limits::backoff_max * 2;

// A thousand calls at a time that change so fast do not lack connections: a loop takes no more than some ten thousand a
// second, and by ten connections it was measured to take half as many.
constexpr size_t crowd_min = 1000;
constexpr Duration flow_look = ms(100);
constexpr uint64_t flow_min = 2000;  // calls that begin in that time

}  // namespace

Widening::Widening(const Env& env, Fn<void(Result<std::unique_ptr<Conn>>)> dialled, Fn<void()> due)
    : env_(env), dialled_(std::move(dialled)), due_(std::move(due)) {}

// Not known yet counts as well.
bool Widening::flows(uint64_t begun) {
  Time now = env_.loop.now();
  Duration length = now - looked_;
  bool is_known = length >= flow_look && length < flow_look * 2;
  if (is_known && begun - begun_ < flow_min) return false;
  if (length < flow_look) return true;
  looked_ = now;
  begun_ = begun;
  return true;
}

bool Widening::start(const Url& address, size_t inflight, uint64_t begun) {
  NEBULA_ASSERT(!is_under_way_);
  if (inflight >= crowd_min && flows(begun)) free_ = std::max(free_, looked_ + flow_look);
  if (Time now = env_.loop.now(); now < free_) {
    if (timer_ == nullptr)
      timer_ = env_.loop.after(free_ - now, [this] {
        timer_.reset();
        due_();
      });
    return false;
  }
  is_under_way_ = has_started_ = true;
  env_.network.dial(address, [self = anchor_.ref()](Result<std::unique_ptr<Conn>> conn) {
    if (Widening* widening = self.get()) widening->dialled_(std::move(conn));
  });
  return true;
}

void Widening::on_failed() {
  is_under_way_ = false;
  pause(limits::backoff_first);
}

// Once it is made good at once, as servers do end connections for their age. And several may go together.
void Widening::on_lost() {
  if (has_started_) pause({});
}

void Widening::pause(Duration least) {
  Time now = env_.loop.now();
  pause_ = now - paused_ > memory ? least : std::max(pause_, least);
  paused_ = now;
  has_started_ = false;
  free_ = now + Duration{env_.random.between(pause_.ns * 4 / 5, pause_.ns * 6 / 5)};
  pause_ = std::clamp(Duration{pause_.ns * 8 / 5}, limits::backoff_first, limits::backoff_max);
}

}  // namespace nebula
