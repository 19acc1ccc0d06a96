// http2/stream.h - all that rpc/ may know of HTTP/2 (and, later, of QUIC): a Session of Streams.
//
// No event fires from inside a verb of the same stream. Whoever gets an event may destroy the stream in it; a session
// is destroyed from outside its own events only (Loop::later). What verbs produce leaves at the end of the turn, in one
// flush for all streams.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/done.h"
#include "base/limits.h"
#include "base/metadata.h"
#include "base/status.h"
#include "base/time.h"
#include "transport/transport.h"

namespace nebula {

class Loop;

// What is known of a request that ended without an answer: may it be sent again?
enum class Fate : uint8_t {
  unsent,       // it never left this process
  unprocessed,  // the peer says that its application has not seen it
  unknown,      // the connection was lost, or we gave up
  processed,    // the peer's application has answered or refused it
  refused,      // of a stream alone: unprocessed, for the peer takes no more beside those that are open
};

// Error codes of RFC 9113, 7, that rpc/ needs.
namespace h2 {
inline constexpr uint32_t no_error = 0, internal_error = 2, refused_stream = 7, cancel = 8, enhance_your_calm = 11;
}

// When a silent connection is pinged, and when it is given up (gRFC A8).
struct Keepalive {
  Duration interval;                             // nothing was read for so long: a PING; 0: never
  Duration timeout = limits::keepalive_timeout;  // nothing is read for so long after it: the connection is lost
  bool without_streams = false;                  // also while no stream is open
};

// Which PINGs of its clients a server bears.
struct PingPolicy {
  Duration interval_min = limits::ping_interval_min;
  bool without_streams = false;                  // as often while no stream is open
};

struct SessionOptions {
  Keepalive keepalive = {};
  PingPolicy pings = {};                    // server
  uint32_t streams_max = limits::streams_max;    // server: that a client may have open
  int32_t stream_id_max = limits::stream_id_max;  // client: then it drains, and on_draining comes
};

struct Head {
  Metadata fields;         // pseudo-headers first, as they came
  bool too_large = false;  // over limits::metadata_*: what did not fit was dropped
};

struct StreamEvents {
  virtual void on_headers(Head head, bool last) = 0;    // a second one is the trailers
  virtual void on_data(Bytes data, bool last) = 0;      // data may be empty when last
  virtual void on_writable() = 0;                       // the send queue fell under its low mark
  virtual void on_closed(Status why, Fate fate) = 0;    // the last event; ok: both directions ended in order

 protected:
  ~StreamEvents() = default;
};

class Stream {
 public:
  // Resets it with CANCEL if still open; no event follows. At a server it counts against the limit of streams until
  // then, closed or not: whoever keeps it for as long as its handler runs is not overrun by calls that are cancelled.
  virtual ~Stream() = default;
  virtual void headers(Metadata head, bool last) = 0;   // first: request or response; second: trailers, always last
  // False: taken, but wait for on_writable before the next. So many messages: a peer may answer each with a frame or two.
  virtual bool data(Bytes data, bool last, uint32_t messages = 1) = 0;
  virtual void consumed(size_t byte_count) = 0;         // gives the peer window back
  virtual void reset(uint32_t h2_code) = 0;             // after headers(); on_closed still follows
  // Server: the peer is in the middle of a message, or no longer. In it, it is reset when it sends less than
  // limits::rate_min for limits::stall_timeout.
  virtual void awaits_rest(bool on) = 0;
  virtual bool is_unsent() const = 0;                   // client: nothing of the request has left this process
};

struct SessionEvents {
  virtual StreamEvents& on_stream(std::unique_ptr<Stream> stream) = 0;  // server: the peer opened one
  virtual void on_settings() = 0;               // the peer's first SETTINGS came: it speaks HTTP/2
  virtual void on_room() = 0;                   // client: one may be opened, after open() had said resource_exhausted
  virtual void on_large_head(size_t bytes) = 0; // the first from the peer over limits::metadata_bytes_soft
  virtual void on_draining() = 0;               // GOAWAY came: open nothing more here
  virtual void on_closed(Status why) = 0;       // the last event, after on_closed of every stream

 protected:
  ~SessionEvents() = default;
};

class Session {
 public:
  virtual ~Session() = default;                 // closes the connection; every open stream gets its on_closed first

  // Client only. resource_exhausted: as many streams are open as the peer says it takes; aborted: as it has shown to take,
  // refusing more; on_room will follow both. unavailable: the session is draining or closed.
  virtual Result<std::unique_ptr<Stream>> open(StreamEvents& up) = 0;

  // GOAWAY in two steps (RFC 9113, 6.8), then what runs is finished, then on_closed(ok).
  virtual void drain() = 0;

  virtual size_t open_count() const = 0;
  virtual Time idle_since() const = 0;            // never(): a stream is open
  virtual Time last_read() const = 0;             // when anything came from the peer, or since when it is waited for
  // Sends a PING. False: the session is ending.
  virtual bool probe() = 0;
  virtual bool pinged_too_often() const = 0;      // client: GOAWAY came with "too_many_pings"
  virtual size_t metadata_bytes_max() const = 0;  // the largest header list that the peer says it takes
  virtual const Peer& peer() const = 0;
  // For what data() takes of all streams and has not left. A writer that does not wait looks there first.
  virtual std::shared_ptr<const Room> body_room() const = 0;
};

// An HTTP/2 session over conn. `up` outlives it.
std::unique_ptr<Session> h2_session(Loop& loop, std::unique_ptr<Conn> conn, bool is_server, SessionEvents& up,
                                    const SessionOptions& options = {});

}  // namespace nebula
