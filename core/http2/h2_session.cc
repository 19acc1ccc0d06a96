// http2/h2_session.cc - feeds nghttp2, flushes once a turn, ends in order.
#include "http2/h2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/limits.h"

namespace nebula {

namespace {

// One write to the Conn; larger output goes in several.
constexpr size_t output_block_bytes = 16u << 10;
// nghttp2 refuses to send a header block that may come to more than 64 KiB; it adds 12 for the block to our 32 a field.
constexpr size_t head_sent_bytes_max = (64u << 10) - 12;

// nghttp2's own bound is 33 a second, which calls with short deadlines reach. Only newer headers have it: 1.57, and
// Debian's 1.52.
template <class Option>
void limit_resets(Option* option) {
  if constexpr (requires { nghttp2_option_set_stream_reset_rate_limit(option, 0, 0); })
    nghttp2_option_set_stream_reset_rate_limit(option, limits::resets_at_once_max, limits::resets_per_second_max);
}

// Newer headers have this, from 1.67 on; 1.69 raised its default tenfold.
template <class Option>
void limit_bad_frames(Option* option) {
  if constexpr (requires { nghttp2_option_set_glitch_rate_limit(option, 0, 0); })
    nghttp2_option_set_glitch_rate_limit(option, limits::wasted_streams_at_once_max,
                                              limits::wasted_streams_per_second_max);
}

// From 1.61 on, and Debian's 1.52.
template <class Option>
void limit_continuations(Option* option) {
  if constexpr (requires { nghttp2_option_set_max_continuations(option, 0); })
    nghttp2_option_set_max_continuations(option, limits::continuations_max);
}

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
    : loop_(loop), conn_(std::move(conn)), is_server_(is_server), up_(up), options_(options),
      idle_since_(loop.now()), quota_(loop, [this] { flush_later(); }), strikes_(options.pings),
      meter_(is_server ? NGHTTP2_CLIENT_MAGIC_LEN : 0) {
  nghttp2_session_callbacks* callbacks = h2_callbacks();
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);  // credit returns when a message is taken, not when it arrives
  nghttp2_option_set_no_closed_streams(option, 1);      // they were only kept for priorities, which gRPC does not use
  nghttp2_option_set_peer_max_concurrent_streams(option, limits::streams_before_settings);
  nghttp2_option_set_max_outbound_ack(option, limits::acks_waiting_max);
  nghttp2_option_set_max_settings(option, limits::settings_entries_max);
  limit_resets(option);
  limit_bad_frames(option);
  limit_continuations(option);
  int failed = is_server ? nghttp2_session_server_new2(&raw_, callbacks, this, option)
                         : nghttp2_session_client_new2(&raw_, callbacks, this, option);
  NEBULA_ASSERT(failed == 0);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  start();
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

void H2Session::start() {
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<uint32_t>(limits::stream_window_bytes)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits::metadata_bytes_max)},
  };
  if (is_server_)
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options_.streams_max});
  else
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  nghttp2_submit_settings(raw_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(raw_, NGHTTP2_FLAG_NONE, 0, limits::connection_window_bytes);
  conn_->start(*this);
  // A server speaks when it is spoken to: who is not greeted with HTTP/2 can be answered in other words.
  if (!is_server_) flush_later();
}

H2Session::~H2Session() {
  ended_ = true;
  while (streams_ != nullptr) {
    H2Stream* stream = streams_;
    if (arriving_.get() == stream)
      remove(stream);
    else
      close(stream, unavailable("the connection to " + peer().address + " was given up"),
            stream->is_unsent() ? Fate::unsent : Fate::unknown);
  }
  while (held_ != nullptr) {
    held_->holder_ = nullptr;
    held_ = held_->next_;
  }
  nghttp2_session_del(raw_);
  if (output_ != nullptr) output_->unref();
}

// ---- the owner's verbs

Result<std::unique_ptr<Stream>> H2Session::open(StreamEvents& up) {
  NEBULA_ASSERT(!is_server_);
  if (ended_ || ending_ || draining_ || going_away_) return unavailable("the connection is draining");
  if (static_cast<int32_t>(nghttp2_session_get_next_stream_id(raw_)) >= options_.stream_id_max) {
    drain();
    loop_.later([self = anchor_.ref()] {
      if (H2Session* session = self.get()) session->up_.on_draining();
    });
    return unavailable("the connection has used up its stream ids");
  }
  if (!quota_.allows(open_count_)) {
    was_full_ = true;
    quota_.await();
    return resource_exhausted("the peer takes " + std::to_string(quota_.streams_max()) +
                              " calls at a time on one connection");
  }
  std::unique_ptr<H2Stream> stream = std::make_unique<H2Stream>(*this, &up);
  add(stream.get());
  return std::unique_ptr<Stream>(std::move(stream));
}

void H2Session::drain() {
  if (std::exchange(draining_, true) || ended_) return;
  if (is_server_) {
    nghttp2_submit_shutdown_notice(raw_);
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
  nghttp2_submit_goaway(raw_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(raw_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
}

size_t H2Session::metadata_bytes_max() const {
  // Before its SETTINGS the peer takes anything, but nghttp2 would not send it.
  return std::min<size_t>(nghttp2_session_get_remote_settings(raw_, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE),
                          head_sent_bytes_max);
}

// ---- bytes in

void H2Session::on_bytes(Bytes data) {
  if (ending_ || ended_ || shut_) return;
  if (pulse_ != nullptr) pulse_->on_read();
  bytes_read_ += data.size();
  reading_ = &data;
  ssize_t taken = nghttp2_session_mem_recv(raw_, reinterpret_cast<const uint8_t*>(data.data()), data.size());
  reading_ = nullptr;
  if (taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC && looks_like_http1(data.view())) return answer_http1();
  if (taken < 0)
    return end(unavailable("no HTTP/2 with " + peer().address + ": " + nghttp2_strerror(static_cast<int>(taken))));
  charge(control_frames_, "too many frames that carry nothing", meter_.feed(data.view()));
  watch_stalls();
  flush_later();
}

// Flooding is told apart from work by what it carries: nothing.
void H2Session::charge(Budget& budget, std::string_view what, int64_t amount) {
  if (!budget.spend(loop_.now(), amount) && amount > 0) shut(h2::enhance_your_calm, what);
}

void H2Session::ping(std::string_view payload) {
  nghttp2_submit_ping(raw_, NGHTTP2_FLAG_NONE, reinterpret_cast<const uint8_t*>(payload.data()));
  flush_later();
}

void H2Session::on_ping(bool is_answer, std::string_view payload) {
  // The peer has seen the first GOAWAY, so what it opened before has arrived: the second can name the last.
  if (is_answer && payload == drain_ping && draining_ && is_server_) say_last();
  if (is_answer && payload == bdp_ping) on_bdp_answer();
  if (is_answer || !is_server_ || strikes_.allows(loop_.now(), open_count_ > 0)) return;
  shut(NGHTTP2_ENHANCE_YOUR_CALM, too_many_pings);
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

bool H2Session::has_room() const { return conn_->unsent() < limits::session_output_bytes_max; }

void H2Session::flush() {
  flush_due_ = false;
  if (ended_ || ending_) return;
  // Said earlier, it would overtake requests of this turn, and a server that has nothing else to do then hangs up.
  if (draining_ && !is_server_ && open_count_ == 0) say_last();
  while (has_room()) {
    const uint8_t* data = nullptr;
    ssize_t size = nghttp2_session_mem_send(raw_, &data);
    if (size < 0) return end(internal(std::string("HTTP/2: ") + nghttp2_strerror(static_cast<int>(size))));
    if (size == 0) {
      if (has_room()) unsent_heads_.clear();  // else it is not all
      break;
    }
    append(data, static_cast<size_t>(size));
  }
  write_appended();
  if (shut_) return end_shut();
  tell_room();
  watch_stalls();
  end_if_done();
}

void H2Session::append(const void* data, size_t size) {
  const char* from = static_cast<const char*>(data);
  while (size > 0) {
    if (output_ == nullptr) output_ = Block::make(output_block_bytes);
    NEBULA_ASSERT(output_ != nullptr);
    size_t part = std::min(size, output_->capacity() - output_->size());
    std::memcpy(output_->data() + output_->size(), from, part);
    output_->set_size(output_->size() + part);
    from += part;
    size -= part;
    if (output_->size() == output_->capacity()) write_appended();
  }
}

void H2Session::append(Bytes data) {
  write_appended();
  bytes_written_ += data.size();
  conn_->write(std::move(data));
}

void H2Session::write_appended() {
  if (output_ == nullptr) return;
  bytes_written_ += output_->size();
  conn_->write(Bytes::adopt(std::exchange(output_, nullptr)));
}

void H2Session::answer_http1() {
  constexpr std::string_view text = "This port speaks gRPC, that is HTTP/2 without TLS; HTTP/1.1 is not spoken here.\n";
  std::string answer =
      "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " +
      std::to_string(text.size()) + "\r\n\r\n" + std::string(text);
  ending_ = true;
  // What nghttp2 has queued (our SETTINGS) means nothing to this peer and stays there.
  conn_->write(Bytes::copy(answer));
}

// ---- the end

void H2Session::end_if_done() {
  if (nghttp2_session_want_read(raw_) || nghttp2_session_want_write(raw_)) return;
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
  if (ending_ || ended_ || std::exchange(shut_, true)) return;
  failure_ = unavailable("the connection to " + peer().address + " was closed: " + std::string(why));
  nghttp2_submit_goaway(raw_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(raw_), h2_code,
                        reinterpret_cast<const uint8_t*>(why.data()), why.size());
  flush_later();
}

// As much as it takes has been written. It gets a moment to read it, for the words are to help whoever looks for the
// reason; what ran here ends at once.
void H2Session::end_shut() {
  ending_ = true;
  lingers_ = true;
  on_all_sent();
  end_streams(failure_);
}

void H2Session::end(Status why) {
  if (std::exchange(ended_, true)) return;
  end_streams(why);
  arriving_.reset();
  up_.on_closed(std::move(why));
}

void H2Session::end_streams(const Status& why) {
  while (streams_ != nullptr) {
    H2Stream* stream = streams_;
    if (arriving_.get() == stream) {
      stream->session_ = nullptr;
      remove(stream);
      continue;
    }
    Status reason = why.ok() ? unavailable("connection to " + peer().address + " ended") : why;
    close(stream, std::move(reason), stream->is_unsent() ? Fate::unsent : Fate::unknown);
  }
}

// ---- streams

H2Stream* H2Session::find(int32_t id) { return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(raw_, id)); }

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
  body_bytes_ -= stream->body_bytes_;
  if (pulse_ != nullptr) pulse_->on_stream_count(open_count_);
  if (!is_server_) flush_later();  // to say that there is room, or the last word
}

void H2Session::close(H2Stream* stream, Status why, Fate fate) {
  if (stream->id_ >= 0) nghttp2_session_set_stream_user_data(raw_, stream->id_, nullptr);
  keep_until_sent(std::move(stream->head_));
  keep_until_sent(std::move(stream->trailers_));
  remove(stream);
  if (is_server_ && !ended_) hold(stream);
  stream->events_->on_closed(std::move(why), fate);
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

void H2Session::keep_until_sent(Metadata head) {
  if (!head.empty()) unsent_heads_.push_back(std::move(head));
}

}  // namespace nebula
