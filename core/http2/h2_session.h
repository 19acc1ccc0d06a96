// http2/h2_session.h - HTTP/2 over any Conn: nghttp2 is the protocol, this is its place in a loop.
//
// Bytes in (on_bytes), bytes out (flush): no I/O of its own. Whatever streams produce in a turn leaves in one flush at
// its end. A session lives on one loop and is owned by a server's connection or a channel's node.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "loop/anchor.h"
#include "base/budget.h"
#include "base/limits.h"
#include "http2/bdp.h"
#include "http2/frame_meter.h"
#include "http2/keepalive.h"
#include "http2/stream.h"
#include "http2/stream_quota.h"
#include "loop/loop.h"

struct nghttp2_session;
struct nghttp2_session_callbacks;

namespace nebula {

class H2Session;

// Sees whether something goes on.
class Stall {
 public:
  // For how many looks in a row too little has.
  int look(uint64_t bytes_so_far, bool is_watched);

 private:
  uint64_t bytes_ = 0;
  int looks_ = 0;
};

// One stream. Made by the session, owned by whoever handles the call; either may go first.
class H2Stream final : public Stream {
 public:
  H2Stream(H2Session& session, StreamEvents* events);
  ~H2Stream() override;

  void headers(Metadata head, bool last) override;
  bool data(Bytes data, bool last) override;
  void consumed(size_t byte_count) override;
  void reset(uint32_t h2_code) override;
  void awaits_rest(bool on) override;
  bool has_room_for(size_t byte_count) const override;
  bool is_unsent() const override;

 private:
  friend class H2Session;
  friend struct H2Callbacks;

  void submit(bool has_body);
  void end_body();
  size_t kept_bytes() const;  // of the body, with what its pieces cost beside their bytes
  long read(uint8_t* room, size_t size, uint32_t* flags);  // nghttp2 pulls the body
  void take(size_t size, std::vector<Bytes>* slices);      // the next bytes of the body, uncopied

  H2Session* session_;  // null: the stream is closed
  StreamEvents* events_;
  int32_t id_ = -1;     // client: none before headers()

  Head arriving_;       // header block being received
  Metadata head_;       // to be sent; nghttp2 points into them until they are, then they are empty
  Metadata trailers_;

  std::deque<Bytes> body_;
  size_t body_bytes_ = 0;
  uint64_t body_taken_ = 0;
  StreamWindow window_;
  uint64_t received_ = 0;  // bytes of the peer's body
  Stall sending_stall_, receiving_stall_;
  Time opened_;            // server
  bool has_head_ = false;
  bool has_trailers_ = false;
  bool body_ended_ = false;
  bool starved_ = false;   // nghttp2 waits for more body
  bool over_mark_ = false; // data() said to wait
  bool awaits_rest_ = false;

  H2Session* holder_ = nullptr;  // server: counts this one though it has closed
  H2Stream* next_ = nullptr;     // the session's open streams, or those that it counts
  H2Stream** link_ = nullptr;
};

class H2Session final : public Session, private ConnEvents {
 public:
  H2Session(Loop& loop, std::unique_ptr<Conn> conn, bool is_server, SessionEvents& up, const SessionOptions& options);
  ~H2Session() override;

  Result<std::unique_ptr<Stream>> open(StreamEvents& up) override;
  void drain() override;
  size_t open_count() const override { return open_count_; }
  Time idle_since() const override { return open_count_ > 0 ? Time::never() : idle_since_; }
  bool pinged_too_often() const override { return pinged_too_often_; }
  size_t metadata_bytes_max() const override;
  const Peer& peer() const override { return conn_->peer(); }

 private:
  friend class H2Stream;
  friend struct H2Callbacks;

  // ConnEvents
  void on_bytes(Bytes data) override;
  void on_drained() override;
  void on_closed(Status why) override;

  // gRFC A8: by these words clients know that they are to ping less.
  static constexpr std::string_view too_many_pings = "too_many_pings";
  // What PINGs carry, so that the answers can be told apart.
  static constexpr std::string_view drain_ping{"\0\0\0\0\0\0\0\0", 8};
  static constexpr std::string_view keepalive_ping = "alive???", bdp_ping = "how far?";

  void start();
  void keep_alive();
  void ping(std::string_view payload);
  void on_ping(bool is_answer, std::string_view payload);
  void on_stream_bytes(H2Stream* stream, size_t size);
  void on_bdp_answer();
  void flush_later();
  void flush();
  bool has_room() const;                 // for more output
  void append(const void* data, size_t size);
  void append(Bytes data);
  void write_appended();
  void end_if_done();
  void on_all_sent();                    // when it is ending
  void end(Status why);                  // streams first, then the owner
  void end_streams(const Status& why);
  void shut(uint32_t h2_code, std::string_view why);  // for what the peer does; it is told
  void end_shut();
  void answer_http1();
  void say_last();                       // the GOAWAY after which no stream is taken

  void charge(Budget& budget, std::string_view what, int64_t amount = 1);
  void watch_stalls();
  void look_for_stalls();
  bool owes_output() const;              // that a peer may be slow to take

  H2Stream* find(int32_t id);
  bool may_take_stream() const { return open_count_ + held_count_ < options_.streams_max; }
  void hold(H2Stream* stream);
  void add(H2Stream* stream);
  void remove(H2Stream* stream);
  void close(H2Stream* stream, Status why, Fate fate);
  void tell_room();
  void keep_until_sent(Metadata head);

  Loop& loop_;
  std::unique_ptr<Conn> conn_;
  const bool is_server_;
  SessionEvents& up_;
  const SessionOptions options_;
  nghttp2_session* raw_ = nullptr;

  const Bytes* reading_ = nullptr;       // what nghttp2 is being fed; its data callbacks point into it
  std::unique_ptr<H2Stream> arriving_;   // server: a new stream whose header block is not complete
  H2Stream* streams_ = nullptr;
  H2Stream* held_ = nullptr;             // server: streams that have closed and whose owners keep them
  size_t open_count_ = 0;
  size_t held_count_ = 0;
  size_t ending_count_ = 0;              // open, with the whole body at hand
  size_t awaiting_count_ = 0;            // open, and the rest of a message is to come
  size_t body_bytes_ = 0;                // of all streams, that nghttp2 has not taken yet
  Time idle_since_;
  StreamQuota quota_;                    // client
  Block* output_ = nullptr;              // being filled by flush
  std::vector<Metadata> unsent_heads_;   // of streams that ended before their headers left

  std::unique_ptr<Pulse> pulse_;         // null: no keepalive
  PingStrikes strikes_;                  // server
  BdpProbe bdp_;
  int32_t windows_growth_ = 0;           // of the open streams, in bytes
  FrameMeter meter_;
  size_t head_bytes_ = 0;                // of the header block that arrives, with what is dropped
  Budget wasted_streams_{limits::wasted_streams_at_once_max, limits::wasted_streams_per_second_max};
  Budget control_frames_{limits::control_frames_at_once_max, limits::control_frames_per_second_max};
  uint64_t bytes_read_ = 0, bytes_written_ = 0, frames_at_look_ = 0;
  Stall reading_stall_, writing_stall_;
  std::unique_ptr<Timer> stall_timer_;
  Status failure_;                       // the reason for on_closed, when there is one before the end
  std::unique_ptr<Timer> goaway_timer_;  // server: draining, the client's answer to the first GOAWAY is awaited
  std::unique_ptr<Timer> linger_timer_;  // server: all is said, the client is to close
  bool has_settings_ = false;
  bool pinged_too_often_ = false;
  bool had_large_head_ = false;
  bool shut_ = false;                    // GOAWAY is the last that leaves, and nothing is read any more
  bool flush_due_ = false;
  bool was_full_ = false;                // open() has said resource_exhausted
  bool draining_ = false;
  bool has_said_last_ = false;
  bool going_away_ = false;              // a GOAWAY came or the stream ids ran out
  bool ending_ = false;                  // closes when all output has left
  bool lingers_ = false;                 // or rather, lets the client close
  bool ended_ = false;
  Anchor<H2Session> anchor_{*this};
};

// What nghttp2 is to call for a session, which is its user data. Of h2_frames.cc; the caller deletes it.
nghttp2_session_callbacks* h2_callbacks();

// The words for an error code of a RST_STREAM or GOAWAY: gRPC's PROTOCOL-HTTP2, "Errors".
Status status_of_h2(uint32_t code);

}  // namespace nebula
