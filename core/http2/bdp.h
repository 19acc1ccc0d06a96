// http2/bdp.h - how large the window of a stream should be: twice what can be under way in one round trip.
//
// While much data arrives a PING measures the round trip, and what a stream receives and reads meanwhile is a sample of
// the bandwidth-delay product (as gRPC does it). Where a sample nearly fills its window, the window is what holds the
// stream back. The shortest round trip counts: one that grew because we, or the peer, read no faster is no reason for
// more room. Plain values; a session's member.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/limits.h"
#include "base/time.h"

namespace nebula {

// Of one stream: its window, and what was received and read while the last PING was out.
struct StreamWindow {
  int32_t bytes = limits::stream_window_bytes;
  size_t received = 0, read = 0;

  void begin_sample() { received = read = 0; }
  // Only what was both tells: a reader that stands still needs no more room, nor does one that takes long in turns.
  size_t sample() const { return std::min(received, read); }
};

class BdpProbe {
 public:
  // Data came. True: it is time to send a PING, and a sample begins.
  bool on_data(Time now, size_t bytes);

  // The PING was answered. From here on window_for() speaks of this sample.
  void on_answer(Time now);

  // What the window should be; never less than it is.
  int32_t window_for(const StreamWindow& window) const;

  // A window has become larger, which shows after one round trip.
  void on_growth(Time now) { next_ = now + round_trip_; }

 private:
  bool is_out_ = false;
  Time sent_, next_;
  size_t bytes_ = 0;  // since the last sample
  Duration round_trip_, shortest_{INT64_MAX};
};

}  // namespace nebula
