// http2/h2_session.cc - its place in a loop: reads, flushes once a turn, ends in order.
#include "http2/h2_session.h"

#include <algorithm>

#include "base/assert.h"
#include "base/limits.h"

namespace nebula {

namespace {

// A larger head is not sent, whatever the peer says that it takes: it is encoded in one piece.
constexpr size_t head_sent_bytes_max = 64u << 10;

bool looks_like_http1(std::string_view text) {
  for (std::string_view method :
       {"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ", "CONNECT "})
    if (text.starts_with(method)) return true;
  return text.find(" HTTP/1.") != std::string_view::npos;
}

}  // namespace

std::unique_ptr<Session> h2_session(Loop& loop, std::unique_ptr<Conn> conn, bool is_server, SessionEvents& up,
                                    const SessionOptions& options) {
  return std::make_unique<H2Session>(loop, std::move(conn), is_server, up, options);
}

H2Session::H2Session(Loop& loop, std::unique_ptr<Conn> conn, bool is_server, SessionEvents& up,
                     const SessionOptions& options)
    : loop_(loop), conn_(std::move(conn)), is_server_(is_server), up_(up), options_(options), reader_(is_server),
      writer_(*conn_), idle_since_(loop.now()), last_read_(loop.now()), quota_(loop, [this] { flush_later(); }),
      send_window_(h2::window_bytes_default), peers_window_(h2::window_bytes_default), strikes_(options.pings) {
  say_settings();
  conn_->start(*this);
  // A server speaks when it is spoken to: who is not greeted with HTTP/2 can be answered in other words.
  if (!is_server_) flush_later();
  keep_alive();
}

void H2Session::keep_alive() {
  if (options_.keepalive.interval == Duration{}) return;
  auto dead = [this] {
    end(unavailable("the connection to " + peer().address + " was silent for " +
                    std::to_string((options_.keepalive.interval + options_.keepalive.timeout).ms()) +
                    " ms, and a ping was not answered"));
  };
  pulse_ = std::make_unique<Pulse>(loop_, options_.keepalive, [this] { ping(keepalive_ping); }, std::move(dead));
  // What was sent and is not acknowledged tells sooner than a PING behind it (gRFC A18).
  conn_->limit_unacknowledged(options_.keepalive.timeout);
}

void H2Session::say_settings() {
  char payload[3 * h2::setting_bytes];
  char* at = payload;
  auto put = [&at](uint16_t name, uint32_t value) {
    h2::put_number(at, uint32_t{name} << 16);
    h2::put_number(at + 2, value);
    at += h2::setting_bytes;
  };
  put(h2::initial_window_size, static_cast<uint32_t>(limits::stream_window_bytes));
  put(h2::max_header_list_size, static_cast<uint32_t>(limits::metadata_bytes_max));
  is_server_ ? put(h2::max_concurrent_streams, options_.streams_max) : put(h2::enable_push, 0);
  if (!is_server_) writer_.append(h2::client_preface);
  writer_.frame(h2::settings_frame, 0, 0, {payload, sizeof payload});
  writer_.number_frame(h2::window_update_frame, 0,
                       static_cast<uint32_t>(limits::connection_window_bytes - h2::window_bytes_default));
  settings_out_++;
}

H2Session::~H2Session() {
  ended_ = true;
  while (streams_ != nullptr) {
    H2Stream* stream = streams_;
    if (arriving_.stream.get() == stream)
      remove(stream);
    else
      close(stream, unavailable("the connection to " + peer().address + " was given up"),
            stream->is_unsent() ? Fate::unsent : Fate::unknown);
  }
  while (held_ != nullptr) {
    held_->holder_ = nullptr;
    held_ = held_->next_;
  }
}

// ---- the owner's verbs

Result<std::unique_ptr<Stream>> H2Session::open(StreamEvents& up) {
  NEBULA_ASSERT(!is_server_);
  if (ended_ || ending_ || draining_ || going_away_) return unavailable("the connection is draining");
  if (static_cast<int32_t>(next_id_) >= options_.stream_id_max) {
    drain();
    loop_.later([self = anchor_.ref()] {
      if (H2Session* session = self.get()) session->up_.on_draining();
    });
    return unavailable("the connection has used up its stream ids");
  }
  if (!quota_.allows(open_count_)) {
    was_full_ = true;
    quota_.await();
    return Status(quota_.is_as_said() ? Code::resource_exhausted : Code::aborted,
                  "the peer takes " + std::to_string(quota_.streams_max()) + " calls at a time on one connection");
  }
  std::unique_ptr<H2Stream> stream = std::make_unique<H2Stream>(*this, &up);
  add(stream.get());
  return std::unique_ptr<Stream>(std::move(stream));
}

void H2Session::drain() {
  if (std::exchange(draining_, true) || ended_) return;
  if (is_server_) {
    say_goaway(h2::stream_id_mask, h2::no_error, {});
    ping(drain_ping);
    // A client that nobody drives at the moment does not answer; it must not hold up the end.
    goaway_timer_ = loop_.after(limits::goaway_answer_timeout, [this] {
      say_last();
      flush_later();
    });
  }
  flush_later();
}

void H2Session::say_last() {
  if (std::exchange(has_said_last_, true)) return;
  say_goaway(last_taken_id_, h2::no_error, {});
}

void H2Session::say_goaway(uint32_t last_id, uint32_t h2_code, std::string_view debug) {
  std::string payload(8, '\0');
  h2::put_number(payload.data(), last_id);
  h2::put_number(payload.data() + 4, h2_code);
  writer_.frame(h2::goaway_frame, 0, 0, payload.append(debug));
}

size_t H2Session::metadata_bytes_max() const { return std::min<size_t>(peers_metadata_max_, head_sent_bytes_max); }

// ---- bytes in

void H2Session::on_bytes(Bytes data) {
  if (!goes_on()) return;
  last_read_ = loop_.now();
  if (pulse_ != nullptr) pulse_->on_read();
  bytes_read_ += data.size();
  reading_ = &data;
  reader_.feed(data.view(), *this);
  reading_ = nullptr;
  if (ending_ || ended_) return;
  charge(control_frames_, "too many frames that carry nothing", reader_.take_cost());
  if (conn_->unsent() + writer_.pending() > limits::session_output_bytes_max + limits::answers_unread_bytes_max)
    shut(h2::enhance_your_calm, "too many answers are not read");
  watch_stalls();
  flush_later();
}

void H2Session::on_bad_preface() {
  if (looks_like_http1(reading_->view())) return answer_http1();
  end(unavailable("no HTTP/2 with " + peer().address + ": this is no client's preface"));
}

void H2Session::on_bad_frame(uint32_t h2_code, std::string_view why) { fail(h2_code, why); }

// Flooding is told apart from work by what it carries: nothing.
bool H2Session::charge(Budget& budget, std::string_view what, int64_t amount) {
  if (!budget.spend(loop_.now(), amount) && amount > 0) shut(h2::enhance_your_calm, what);
  return goes_on();
}

void H2Session::ping(std::string_view payload) {
  writer_.frame(h2::ping_frame, 0, 0, payload);
  flush_later();
}

bool H2Session::probe() {
  if (!goes_on()) return false;
  ping(probe_ping);
  return true;
}

void H2Session::on_drained() {
  if (ending_) return on_all_sent();
  flush();
}

void H2Session::on_closed(Status why) {
  if (!failure_.ok() || linger_timer_ != nullptr) return end(failure_);
  std::string text = "connection to " + peer().address + " lost";
  if (!why.ok()) text.append(": ").append(why.message());
  end(open_count_ == 0 && why.ok() ? Status() : unavailable(std::move(text)));
}

// ---- bytes out

void H2Session::flush_later() {
  if (ended_ || std::exchange(flush_due_, true)) return;
  loop_.later([self = anchor_.ref()] {
    if (H2Session* session = self.get()) session->flush();
  });
}

bool H2Session::has_room() const { return conn_->unsent() + writer_.pending() < limits::session_output_bytes_max; }

void H2Session::flush() {
  flush_due_ = false;
  if (ended_ || ending_) return;
  // Said earlier, it would overtake requests of this turn, and a server that has nothing else to do then hangs up.
  if (draining_ && !is_server_ && open_count_ == 0) say_last();
  if (!shut_) send_streams();
  writer_.flush();
  if (open_count_ == 0) writer_.release();
  if (shut_) return end_shut();
  tell_room();
  watch_stalls();
  end_if_done();
}

void H2Session::answer_http1() {
  constexpr std::string_view text = "This port speaks gRPC, that is HTTP/2 without TLS; HTTP/1.1 is not spoken here.\n";
  std::string answer =
      "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " +
      std::to_string(text.size()) + "\r\n\r\n" + std::string(text);
  ending_ = true;
  // Our SETTINGS mean nothing to this peer.
  writer_.release();
  conn_->write(Bytes::copy(answer));
}

// ---- the end

void H2Session::end_if_done() {
  if (open_count_ > 0 || !(has_said_last_ || going_away_)) return;
  ending_ = true;
  lingers_ = is_server_ && failure_.ok();
  if (conn_->unsent() == 0) on_all_sent();
}

void H2Session::on_all_sent() {
  if (!lingers_) return end(failure_);
  // The client closes when it has all. Closing here, with a WINDOW_UPDATE of its not read yet, would make the system
  // drop what it has not delivered.
  if (linger_timer_ == nullptr) linger_timer_ = loop_.after(limits::linger_timeout, [this] { end(failure_); });
}

void H2Session::shut(uint32_t h2_code, std::string_view why) {
  if (!goes_on()) return;
  failure_ = unavailable("the connection to " + peer().address + " was closed: " + std::string(why));
  lingers_ = true;
  stop(h2_code, why);
}

bool H2Session::fail(uint32_t h2_code, std::string_view why) {
  if (!goes_on()) return false;
  fail_by("no HTTP/2 with " + peer().address, h2_code, why);
  stop(h2_code, why);
  return false;
}

// A GOAWAY for an error, theirs or ours, says why the connection will end.
void H2Session::fail_by(std::string what, uint32_t h2_code, std::string_view debug) {
  if (h2_code == h2::no_error || !failure_.ok()) return;
  what.append(": ").append(h2::name_of_error(h2_code));
  if (!debug.empty()) what.append(", ").append(debug);
  failure_ = unavailable(std::move(what));
}

void H2Session::stop(uint32_t h2_code, std::string_view why) {
  shut_ = true;
  say_goaway(last_taken_id_, h2_code, why);
  flush_later();
}

// As much as it takes has been written. Who was shut out gets a moment to read it, for the words are to help whoever
// looks for the reason; what ran here ends at once.
void H2Session::end_shut() {
  ending_ = true;
  if (!lingers_ && conn_->unsent() == 0) return end(failure_);
  linger_timer_ = loop_.after(limits::linger_timeout, [this] { end(failure_); });
  end_streams(failure_);
}

void H2Session::end(Status why) {
  if (std::exchange(ended_, true)) return;
  end_streams(why);
  arriving_.stream.reset();
  up_.on_closed(std::move(why));
}

void H2Session::end_streams(const Status& why) {
  while (streams_ != nullptr) {
    H2Stream* stream = streams_;
    if (arriving_.stream.get() == stream) {
      remove(stream);
      continue;
    }
    Status reason = why.ok() ? unavailable("connection to " + peer().address + " ended") : why;
    close(stream, std::move(reason), stream->is_unsent() ? Fate::unsent : Fate::unknown);
  }
}

// ---- streams

bool H2Session::is_idle(uint32_t id) const { return id % 2 == 0 || id > last_id_; }

// Only on a stream that we have ended alone, which ids do not tell for ever (RFC 9113, 5.1, "closed").
bool H2Session::may_be_late(uint32_t id) {
  if (is_idle(id)) return fail(h2::protocol_error, "a frame of a stream that is not open");
  return has_left_streams_ || fail(h2::stream_closed, "a frame of a stream that has ended");
}

void H2Session::add(H2Stream* stream) {
  stream->next_ = streams_;
  stream->link_ = &streams_;
  if (streams_ != nullptr) streams_->link_ = &stream->next_;
  streams_ = stream;
  open_count_++;
  if (pulse_ != nullptr) pulse_->on_stream_count(open_count_);
}

void H2Session::remove(H2Stream* stream) {
  *stream->link_ = stream->next_;
  if (stream->next_ != nullptr) stream->next_->link_ = stream->link_;
  stream->link_ = nullptr;
  stream->session_ = nullptr;
  if (--open_count_ == 0) idle_since_ = loop_.now();
  if (stream->body_ended_) ending_count_--;
  windows_growth_ -= stream->window_.bytes - limits::stream_window_bytes;
  if (stream->awaits_rest_) awaiting_count_--;
  body_room_->release(stream->body_.bytes());
  StreamQueue::remove(stream);
  if (stream->is_on_wire_) table_.remove(stream->id_);
  if (pulse_ != nullptr) pulse_->on_stream_count(open_count_);
  if (!is_server_) flush_later();  // to say that there is room, or the last word
}

void H2Session::put_on_wire(H2Stream* stream) {
  stream->is_on_wire_ = true;
  table_.add(stream->id_, stream);
}

void H2Session::close(H2Stream* stream, Status why, Fate fate) {
  remove(stream);
  if (is_server_ && !ended_) hold(stream);
  stream->events_->on_closed(std::move(why), fate);
}

// As RST_STREAM says it: the peer's, or ours.
void H2Session::close_by(H2Stream* stream, uint32_t h2_code) {
  Fate fate = Fate::unknown;
  if (h2_code == h2::no_error)
    fate = Fate::processed;
  else if (stream->is_unsent())
    fate = Fate::unsent;
  else if (h2_code == h2::refused_stream)
    fate = going_away_ ? Fate::unprocessed : Fate::refused;
  if (fate == Fate::processed) quota_.on_answered();
  if (fate == Fate::refused) quota_.on_refused(open_count_ - 1);
  close(stream, fate == Fate::processed ? Status() : status_of_h2(h2_code), fate);
}

void H2Session::end_if_both(uint32_t id) {
  H2Stream* stream = find(id);
  if (stream != nullptr && stream->peer_ended_ && stream->we_ended_) close_by(stream, h2::no_error);
}

void H2Session::hold(H2Stream* stream) {
  stream->holder_ = this;
  stream->next_ = held_;
  stream->link_ = &held_;
  if (held_ != nullptr) held_->link_ = &stream->next_;
  held_ = stream;
  held_count_++;
}

void H2Session::tell_room() {
  if (!was_full_ || !quota_.allows(open_count_)) return;
  was_full_ = false;
  up_.on_room();
}

}  // namespace nebula
