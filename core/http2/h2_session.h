// http2/h2_session.h - HTTP/2 over any Conn: frames in become events of streams, what streams say becomes frames.
//
// Bytes in (on_bytes), bytes out (flush): no I/O of its own. Whatever streams produce in a turn leaves in one flush at
// its end. A session lives on one loop and is owned by a server's connection or a channel's node.
#pragma once

#include <memory>
#include <vector>

#include "base/budget.h"
#include "base/limits.h"
#include "base/room.h"
#include "http2/bdp.h"
#include "http2/body_queue.h"
#include "http2/credit.h"
#include "http2/frame_reader.h"
#include "http2/frame_writer.h"
#include "http2/header_rules.h"
#include "http2/hpack.h"
#include "http2/keepalive.h"
#include "http2/stream.h"
#include "http2/stream_queue.h"
#include "http2/stream_quota.h"
#include "http2/stream_table.h"
#include "loop/anchor.h"
#include "loop/loop.h"

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
  bool data(Bytes data, bool last, uint32_t messages) override;
  void consumed(size_t byte_count) override;
  void reset(uint32_t h2_code) override;
  void awaits_rest(bool on) override;
  bool is_unsent() const override;

 private:
  friend class H2Session;
  friend class StreamQueue;

  void end_body();
  size_t kept_bytes() const;  // of the body, with what its pieces cost beside their bytes
  void tell_writable();

  H2Session* session_;        // null: the stream is closed
  StreamEvents* events_;
  uint32_t id_ = 0;           // client: none before headers()

  Metadata head_;             // to be sent
  Metadata trailers_;
  BodyQueue body_;            // to be sent
  uint64_t body_taken_ = 0;
  int64_t send_window_;
  StreamWindow window_;       // ours
  Credit credit_;
  uint64_t received_ = 0;     // bytes of the peer's body
  int64_t promised_ = -1;     // that its head says it has; -1: it does not
  Stall sending_stall_, receiving_stall_;
  Time opened_;               // server
  uint32_t reset_code_ = 0;
  bool is_on_wire_ = false;   // the peer knows of it
  bool has_head_ = false;
  bool has_sent_head_ = false;
  bool head_is_all_ = false;   // said with it: nothing follows
  bool has_trailers_ = false;
  bool body_ended_ = false;
  bool we_ended_ = false;     // and that has been sent
  bool has_peers_head_ = false;  // client: the response has begun
  bool peer_ended_ = false;
  bool is_resetting_ = false;
  bool over_mark_ = false;    // data() said to wait
  bool awaits_rest_ = false;

  H2Session* holder_ = nullptr;  // server: counts this one though it has closed
  H2Stream* next_ = nullptr;     // the session's open streams, or those that it counts
  H2Stream** link_ = nullptr;
  StreamQueue::Place place_;     // among those that have something to send
};

class H2Session final : public Session, private ConnEvents, private H2FrameEvents {
 public:
  H2Session(Loop& loop, std::unique_ptr<Conn> conn, bool is_server, SessionEvents& up, const SessionOptions& options);
  ~H2Session() override;

  Result<std::unique_ptr<Stream>> open(StreamEvents& up) override;
  void drain() override;
  size_t open_count() const override { return open_count_; }
  Time idle_since() const override { return open_count_ > 0 ? Time::never() : idle_since_; }
  Time last_read() const override { return last_read_; }
  bool probe() override;
  bool pinged_too_often() const override { return pinged_too_often_; }
  size_t metadata_bytes_max() const override;
  const Peer& peer() const override { return conn_->peer(); }
  std::shared_ptr<const Room> body_room() const override { return body_room_; }

 private:
  friend class H2Stream;

  // ConnEvents
  void on_bytes(Bytes data) override;
  void on_drained() override;
  void on_closed(Status why) override;

  // H2FrameEvents
  bool on_body_begin(const h2::FrameHead& frame) override;
  bool on_body(uint32_t id, std::string_view part) override;
  bool on_body_end(uint32_t id, size_t padding, bool last) override;
  bool on_head_begin(uint32_t id, bool last) override;
  bool on_head(std::string_view part, bool is_whole) override;
  bool on_reset(uint32_t id, uint32_t h2_code) override;
  bool on_setting(uint16_t name, uint32_t value) override;
  bool on_settings_end(bool is_ack) override;
  bool on_ping(bool is_ack, std::string_view payload) override;
  bool on_goaway(uint32_t last_id, uint32_t h2_code, std::string_view debug) override;
  bool on_window_update(uint32_t id, uint32_t increment) override;
  void on_bad_preface() override;
  void on_bad_frame(uint32_t h2_code, std::string_view why) override;

  // gRFC A8: by these words clients know that they are to ping less.
  static constexpr std::string_view too_many_pings = "too_many_pings";
  // What PINGs carry, so that the answers can be told apart.
  static constexpr std::string_view drain_ping{"\0\0\0\0\0\0\0\0", 8};
  static constexpr std::string_view keepalive_ping = "alive???", bdp_ping = "how far?", probe_ping = "anybody?";

  // What the beginning of a header block said.
  struct KnownHead {
    HeadKind kind;
    HeadRules rules;
    Metadata fields;
    size_t bytes;
  };

  // A header block that arrives.
  struct Arriving {
    uint32_t id = 0;
    bool last = false;
    bool has_begun = false;
    bool is_wanted = false;              // else it is decoded, and that is all
    HeadKind kind = HeadKind::request;
    HeadRules rules;
    Head head;
    size_t bytes = 0;                    // with what is dropped
    std::string_view to_keep;            // the block, if it is worth to be remembered
    std::unique_ptr<H2Stream> stream;    // server: of a request, until its owner has it
  };

  void say_settings();
  void keep_alive();
  void ping(std::string_view payload);
  void on_stream_bytes(H2Stream* stream, size_t size);
  void on_bdp_answer();
  void flush_later();
  void flush();
  bool has_room() const;                 // for more output
  void end_if_done();
  void on_all_sent();                    // when it is ending
  void end(Status why);                  // streams first, then the owner
  void end_streams(const Status& why);
  void shut(uint32_t h2_code, std::string_view why);  // for what the peer does; it is told
  bool fail(uint32_t h2_code, std::string_view why);  // for what is no HTTP/2; false
  void fail_by(std::string what, uint32_t h2_code, std::string_view debug);
  void stop(uint32_t h2_code, std::string_view why);
  void end_shut();
  void answer_http1();
  void say_goaway(uint32_t last_id, uint32_t h2_code, std::string_view debug);
  void say_last();                       // the GOAWAY after which no stream is taken
  bool goes_on() const { return !shut_ && !ending_ && !ended_; }  // reading

  bool charge(Budget& budget, std::string_view what, int64_t amount = 1);  // false: it does not go on
  void watch_stalls();
  void look_for_stalls();
  bool owes_output() const;              // that a peer may be slow to take

  bool begin_request(uint32_t id);
  bool take_known(std::string_view* block);
  bool decode(std::string_view part, bool is_whole);
  bool take_field(const Field& field);
  void keep(std::string_view block);
  bool end_head();
  void deliver_head(H2Stream* stream);
  bool refuse_head();                    // it is malformed
  bool refuse(H2Stream* stream, uint32_t h2_code);  // for what the peer sends on it
  bool ends_as_promised(const H2Stream* stream) const;
  void end_if_both(uint32_t id);         // it is closed when both sides have ended
  void give_back(size_t bytes);          // of the connection's window

  // h2_send.cc
  void ready(H2Stream* stream);          // has something to send
  void ready_by_window(H2Stream* stream);
  void send_streams();
  void send(H2Stream* stream);
  bool send_head(H2Stream* stream);
  void send_block(uint32_t id, const Metadata& head, bool last);
  bool send_body(H2Stream* stream);
  void send_reset(uint32_t id, uint32_t h2_code);
  void on_end_sent(H2Stream* stream);

  H2Stream* find(uint32_t id) const { return table_.find(id); }
  bool is_idle(uint32_t id) const;       // has not been opened
  bool may_be_late(uint32_t id);         // a frame of a stream that is not open
  bool may_take_stream() const { return open_count_ + held_count_ < options_.streams_max; }
  void hold(H2Stream* stream);
  void add(H2Stream* stream);
  void put_on_wire(H2Stream* stream);
  void remove(H2Stream* stream);
  void close(H2Stream* stream, Status why, Fate fate);
  void close_by(H2Stream* stream, uint32_t h2_code);
  void tell_room();

  Loop& loop_;
  std::unique_ptr<Conn> conn_;
  const bool is_server_;
  SessionEvents& up_;
  const SessionOptions options_;
  H2FrameReader reader_;
  H2FrameWriter writer_;
  HpackDecoder decoder_;
  BlockMemo<KnownHead> known_heads_;
  HpackEncoder encoder_;

  const Bytes* reading_ = nullptr;       // what the reader is being fed; what it hands on points into it
  Arriving arriving_;
  StreamTable table_;                    // the streams that the peer knows of
  H2Stream* streams_ = nullptr;          // all
  H2Stream* held_ = nullptr;             // server: streams that have closed and whose owners keep them
  size_t open_count_ = 0;
  size_t held_count_ = 0;
  size_t ending_count_ = 0;              // open, with the whole body at hand
  size_t awaiting_count_ = 0;            // open, and the rest of a message is to come
  const std::shared_ptr<Room> body_room_ = std::make_shared<Room>(limits::session_bodies_bytes_max);
  Time idle_since_;
  Time last_read_;
  StreamQuota quota_;                    // client
  uint32_t next_id_ = 1;                 // client: of the next request
  uint32_t last_id_ = 0;                 // the last stream that was opened: client, by us; server, by the peer
  uint32_t last_taken_id_ = 0;           // server: the last that was not refused
  uint32_t peers_last_id_ = h2::stream_id_mask;  // the last of ours that the peer takes, by its GOAWAY

  StreamQueue fresh_, bulk_, starved_;   // those with something new; with more of a body; that the connection's window stops
  size_t fresh_bytes_ = 0;               // sent since bulk_ had its turn
  int64_t send_window_;
  int64_t peers_window_;                 // that the peer's streams begin with
  uint32_t peers_streams_max_ = UINT32_MAX;
  uint32_t peers_metadata_max_ = UINT32_MAX;
  int settings_out_ = 0;                 // ours, not acknowledged
  Credit credit_;

  std::unique_ptr<Pulse> pulse_;         // null: no keepalive
  PingStrikes strikes_;                  // server
  BdpProbe bdp_;
  int32_t windows_growth_ = 0;           // of the open streams, in bytes
  Budget wasted_streams_{limits::wasted_streams_at_once_max, limits::wasted_streams_per_second_max};
  Budget resets_{limits::resets_at_once_max, limits::resets_per_second_max};
  Budget control_frames_{limits::control_frames_at_once_max, limits::control_frames_per_second_max};
  uint64_t bytes_read_ = 0, frames_at_look_ = 0;
  Stall reading_stall_, writing_stall_;
  std::unique_ptr<Timer> stall_timer_;
  Status failure_;                       // the reason for on_closed, when there is one before the end
  std::unique_ptr<Timer> goaway_timer_;  // server: draining, the client's answer to the first GOAWAY is awaited
  std::unique_ptr<Timer> linger_timer_;  // all is said, the peer is to read it and to close
  bool has_settings_ = false;
  bool pinged_too_often_ = false;
  bool had_large_head_ = false;
  bool shut_ = false;                    // GOAWAY is the last that leaves, and nothing is read any more
  bool flush_due_ = false;
  bool was_full_ = false;                // open() has said resource_exhausted
  bool draining_ = false;
  bool has_left_streams_ = false;        // the peer may have more to say on streams that we have ended, or not taken
  bool has_said_last_ = false;
  bool going_away_ = false;              // a GOAWAY came
  bool ending_ = false;                  // closes when all output has left
  bool lingers_ = false;                 // or rather, lets the client close
  bool ended_ = false;
  Anchor<H2Session> anchor_{*this};
};

// The words for an error code of a RST_STREAM or GOAWAY: gRPC's PROTOCOL-HTTP2, "Errors".
Status status_of_h2(uint32_t code);

}  // namespace nebula
