// http2/stream_quota.cc - asks for one more, now and then.
#include "http2/stream_quota.h"

namespace nebula {

void StreamQuota::on_refused(size_t open_count) {
  size_t least = std::exchange(refuses_, true) ? 0 : 1;
  shown_ = std::min(shown_, std::max(open_count, least));
}

void StreamQuota::on_answered() {
  refuses_ = false;
  pause_ = limits::refusal_pause_first;
}

void StreamQuota::await() {
  if (shown_ >= said_ || timer_ != nullptr) return;
  timer_ = clock_.after(pause_, [this] {
    timer_.reset();
    pause_ = std::min(pause_ * 2, limits::refusal_pause_max);
    shown_++;
    raised_();
  });
}

}  // namespace nebula
