// http2/keepalive.h - PINGs: when to send them, and how many of the peer's to bear (gRFC A8).
//
// Neither class knows of frames: a session tells them what it reads and sends. Both live on its loop.
#pragma once

#include <cstdint>
#include <memory>

#include "http2/stream.h"
#include "loop/loop.h"

namespace nebula {

// Looks after one connection: it is pinged when it has been silent, and dead when it stays so.
class Pulse {
 public:
  // `dead` is the last call; options.interval is not 0.
  Pulse(Clock& clock, const Keepalive& options, Fn<void()> ping, Fn<void()> dead);

  void on_read();             // bytes came, whichever: the peer lives
  void on_stream_count(size_t open_count);

 private:
  void look();
  void look_after(Duration wait);
  bool may_ping() const { return options_.without_streams || open_count_ > 0; }

  Clock& clock_;
  const Keepalive options_;
  Fn<void()> ping_;
  Fn<void()> dead_;
  Time last_read_;
  size_t open_count_ = 0;
  bool awaits_ = false;       // a PING is out and nothing has been read since
  std::unique_ptr<Timer> timer_;  // null: dormant, for there is no stream
};

// Counts the PINGs of a client that come too soon.
class PingStrikes {
 public:
  explicit PingStrikes(const PingPolicy& policy) : policy_(policy) {}

  void on_sent() { has_sent_ = true; }  // HEADERS or DATA, which a client may well answer with a PING

  // A PING came. False: it is one too many.
  bool allows(Time now, bool has_streams);

 private:
  const PingPolicy policy_;
  Time last_{INT64_MIN / 2};
  bool has_sent_ = false;
  int strikes_ = 0;
};

}  // namespace nebula
