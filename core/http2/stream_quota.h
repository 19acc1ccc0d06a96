// http2/stream_quota.h - how many streams of ours the peer takes: as many as it says, or fewer where it refuses some.
//
// Servers count streams that are over for us: while their handlers run, or for a moment longer. So a refusal
// (REFUSED_STREAM) shows the real limit, which is what was open beside it. What waits is let in when a stream ends,
// and one by one in growing pauses, for the limit may have risen. A first refusal of the only stream shows nothing yet:
// that one is tried again at once (gRFC A6). Owned by a client's session.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/limits.h"
#include "loop/loop.h"

namespace nebula {

class StreamQuota {
 public:
  // `raised` runs when one more is allowed than before, after await().
  StreamQuota(Clock& clock, Fn<void()> raised) : clock_(clock), raised_(std::move(raised)) {}

  void on_settings(uint32_t streams_max) { said_ = streams_max; }
  void on_refused(size_t open_count);  // a stream beside so many
  void on_answered();                  // a stream has ended in order

  size_t streams_max() const { return std::min(said_, shown_); }
  bool allows(size_t open_count) const { return open_count < streams_max(); }  // one more
  bool is_as_said() const { return said_ <= shown_; }  // else it has shown to take fewer

  // Somebody wants one more than is allowed.
  void await();

 private:
  Clock& clock_;
  Fn<void()> raised_;
  size_t said_ = limits::streams_before_settings;
  size_t shown_ = SIZE_MAX;
  Duration pause_ = limits::refusal_pause_first;
  bool refuses_ = false;          // since it has answered last
  std::unique_ptr<Timer> timer_;  // set while somebody waits for more than it has shown to take
};

}  // namespace nebula
