// kit/streams.h - ends of streams and sessions that remember what happened to them, and a look at the wire between.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http2/stream.h"
#include "kit/conns.h"
#include "kit/world.h"
#include "loop/anchor.h"

namespace nebula::kit {

// What passed through a TapConn.
struct Tap {
  int writes = 0;
  std::string text;       // all that was written
  bool holds = false;     // nothing leaves: a peer that does not read
  size_t held_bytes = 0;  // taken and not left
  bool gone = false;      // the conn was destroyed
};

// A Conn that is looked at, and can be stopped.
class TapConn final : public Conn {
 public:
  TapConn(Tap& tap, std::unique_ptr<Conn> inner) : tap_(tap), inner_(std::move(inner)) {}
  ~TapConn() override { tap_.gone = true; }

  void start(ConnEvents& up) override { inner_->start(up); }
  void write(Bytes data) override {
    tap_.writes++;
    tap_.text.append(data.view());
    if (tap_.holds)
      tap_.held_bytes += data.size();
    else
      inner_->write(std::move(data));
  }
  size_t unsent() const override { return tap_.held_bytes + inner_->unsent(); }
  void pause(bool on) override { inner_->pause(on); }
  const Peer& peer() const override { return inner_->peer(); }

 private:
  Tap& tap_;
  std::unique_ptr<Conn> inner_;
};

// One end of a stream. Owns it; lets it go only when told to.
class StreamEnd final : public StreamEvents {
 public:
  void on_headers(Head head, bool last) override {
    heads.push_back(std::move(head));
    has_ended |= last;
    if (then_head) then_head();
  }
  void on_data(Bytes data, bool last) override {
    size_t size = data.size();
    received.append(data.view());
    has_ended |= last;
    if (takes)
      stream->consumed(size);
    else
      untaken += size;
    if (then_data) then_data();
  }
  void on_writable() override {
    writable++;
    if (then_writable) then_writable();
  }
  void on_closed(Status why, Fate how) override {
    closed = std::move(why);
    fate = how;
    if (then_closed) then_closed();
  }

  // A field of the n-th head; "" if it is not there.
  std::string field(size_t head, std::string_view name) const {
    return head < heads.size() ? std::string(heads[head].fields.find(name).value_or("")) : "";
  }
  // "UNAVAILABLE: why", "OK", or "open".
  std::string end() const { return closed ? closed->text() : "open"; }

  void take_all() { stream->consumed(std::exchange(untaken, 0)); }

  std::unique_ptr<Stream> stream;
  std::vector<Head> heads;
  std::string received;
  bool has_ended = false;
  int writable = 0;
  std::optional<Status> closed;
  Fate fate = Fate::processed;

  bool takes = true;  // gives the window back at once
  size_t untaken = 0;
  Fn<void()> then_head, then_data, then_writable, then_closed;
};

// One end of a session. Owns it and the streams that the peer opens. Lets it go when it has closed, as owners do.
class SessionEnd final : public SessionEvents {
 public:
  ~SessionEnd() { session.reset(); }  // which tells the streams

  void start(Loop& loop, std::unique_ptr<Conn> conn, bool is_server, const SessionOptions& options = {}) {
    loop_ = &loop;
    session = h2_session(loop, std::make_unique<TapConn>(tap, std::move(conn)), is_server, *this, options);
  }

  // A stream that must be there.
  std::unique_ptr<StreamEnd> open() {
    std::unique_ptr<StreamEnd> end = std::make_unique<StreamEnd>();
    Result<std::unique_ptr<Stream>> stream = session->open(*end);
    NEBULA_ASSERT(stream.ok());
    end->stream = std::move(*stream);
    return end;
  }
  Status open_error() {
    StreamEnd nobody;
    return session->open(nobody).status();
  }

  StreamEvents& on_stream(std::unique_ptr<Stream> stream) override {
    streams.push_back(std::make_unique<StreamEnd>());
    streams.back()->stream = std::move(stream);
    if (then_stream) then_stream(*streams.back());
    return *streams.back();
  }
  void on_settings() override { settings++; }
  void on_room() override {
    rooms++;
    if (then_room) then_room();
  }
  void on_large_head(size_t bytes) override { large_heads.push_back(bytes); }
  void on_draining() override { drainings++; }
  void on_closed(Status why) override {
    closes++;
    closed = std::move(why);
    if (then_closed) then_closed();
    loop_->later([self = anchor_.ref()] {
      if (self.get() != nullptr) self.get()->session.reset();
    });
  }

  std::string end() const { return closed ? closed->text() : "open"; }

  Tap tap;  // what this end has written
  std::vector<std::unique_ptr<StreamEnd>> streams;
  int settings = 0, rooms = 0, drainings = 0, closes = 0;
  std::vector<size_t> large_heads;
  std::optional<Status> closed;
  Fn<void(StreamEnd&)> then_stream;
  Fn<void()> then_room, then_closed;

  std::unique_ptr<Session> session;  // null: not started, or closed

 private:
  Loop* loop_ = nullptr;
  Anchor<SessionEnd> anchor_{*this};
};

// Two sessions, or a session and a raw end, with a connection between them.
class Wire {
 public:
  enum class Raw { none, client, server };

  explicit Wire(Raw raw = Raw::none, const Url& at = url("mem:wire"), const SessionOptions& options = {});

  // What happens soon, though not what waits for a time of its own.
  void settle() { world.loop.run_for(ms(1)); }

  SimWorld world;
  SessionEnd client, server;
  std::unique_ptr<End> raw;  // instead of one of them

 private:
  std::unique_ptr<Listener> listener_;
};

Metadata fields(std::initializer_list<std::pair<std::string_view, std::string_view>> list);
Metadata request_head(std::string_view path = "/hello/greet");
Metadata response_head();

}  // namespace nebula::kit
