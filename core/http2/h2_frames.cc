// http2/h2_frames.cc - what nghttp2 calls: frames in become events of streams, bodies become frames out.
#include <nghttp2/nghttp2.h>

#include "base/limits.h"
#include "http2/h2_session.h"

namespace nebula {

namespace {

// So much is repeated of what a GOAWAY says for people.
constexpr size_t debug_bytes_max = 200;

std::string_view view_of(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

// Adds one received field, or marks the head as too large and drops it.
void add_received(Head* head, std::string_view name, std::string_view value) {
  if (head->too_large) return;
  size_t size = head->fields.list_size() + name.size() + value.size() + 32;
  head->too_large = size > limits::metadata_bytes_max || head->fields.count() >= limits::metadata_fields_max;
  if (!head->too_large) head->fields.add(name, value);
}

}  // namespace

Status status_of_h2(uint32_t code) {
  std::string text = "the peer reset the stream (" + std::string(nghttp2_http2_strerror(code)) + ")";
  switch (code) {
    case NGHTTP2_REFUSED_STREAM: return unavailable(std::move(text));
    case NGHTTP2_CANCEL: return cancelled(std::move(text));
    case NGHTTP2_ENHANCE_YOUR_CALM: return resource_exhausted(std::move(text));
    case NGHTTP2_INADEQUATE_SECURITY: return {Code::permission_denied, std::move(text)};
    default: return internal(std::move(text));
  }
}

// Each finds the stream by its id and hands on.
struct H2Callbacks {
  static H2Session& session_of(void* user) { return *static_cast<H2Session*>(user); }

  static int on_begin_headers(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    H2Session& session = session_of(user);
    session.head_bytes_ = 0;
    if (!session.is_server_ || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    if (!session.may_take_stream()) {  // nobody knows of it, so what follows of it is dropped
      nghttp2_submit_rst_stream(raw, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
      session.charge(session.wasted_streams_, "too many streams");
      return 0;
    }
    session.arriving_ = std::make_unique<H2Stream>(session, nullptr);
    session.arriving_->id_ = frame->hd.stream_id;
    session.arriving_->opened_ = session.loop_.now();
    session.add(session.arriving_.get());
    nghttp2_session_set_stream_user_data(raw, frame->hd.stream_id, session.arriving_.get());
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t, void* user) {
    H2Session& session = session_of(user);
    session.head_bytes_ += name_size + value_size + 32;
    bool is_hostile = session.head_bytes_ > limits::metadata_bytes_hostile;
    if (is_hostile) session.shut(h2::enhance_your_calm, "a head is too large");
    if (session.shut_) return NGHTTP2_ERR_PAUSE;  // what is left of it would be decoded for nothing
    H2Stream* stream = session.find(frame->hd.stream_id);
    if (stream != nullptr) add_received(&stream->arriving_, view_of(name, name_size), view_of(value, value_size));
    return 0;
  }

  static int on_data_chunk(nghttp2_session* raw, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
    H2Session& session = session_of(user);
    // The connection's credit returns on receipt, so that a stream that is not read holds up nobody else.
    nghttp2_session_consume_connection(raw, size);
    H2Stream* stream = session.find(id);
    if (stream == nullptr) return 0;
    session.on_stream_bytes(stream, size);
    stream->received_ += size;
    const char* text = reinterpret_cast<const char*>(data);
    bool is_large = size >= limits::slice_bytes_min;
    Bytes bytes = is_large ? session.reading_->slice(static_cast<size_t>(text - session.reading_->data()), size)
                           : Bytes::copy({text, size});
    stream->events_->on_data(std::move(bytes), false);
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Session& session = session_of(user);
    bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: on_head(session, frame->hd.stream_id, last); break;
      case NGHTTP2_DATA:
        if (H2Stream* stream = last ? session.find(frame->hd.stream_id) : nullptr) stream->events_->on_data({}, true);
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) on_settings(session);
        break;
      case NGHTTP2_PING: 
        session.on_ping((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0, view_of(frame->ping.opaque_data, 8));
        break;
      case NGHTTP2_RST_STREAM: on_reset(session, frame->hd.stream_id); break;
      case NGHTTP2_GOAWAY:
        session.pinged_too_often_ |=
            frame->goaway.error_code == NGHTTP2_ENHANCE_YOUR_CALM &&
            view_of(frame->goaway.opaque_data, frame->goaway.opaque_data_len) == H2Session::too_many_pings;
        fail_by(session, session.peer().address + " ended the connection", frame->goaway);
        if (!std::exchange(session.going_away_, true)) session.up_.on_draining();
        break;
      default: break;
    }
    return 0;
  }

  // Rapid reset (CVE-2023-44487): opened and taken back at once, again and again.
  static void on_reset(H2Session& session, int32_t id) {
    H2Stream* stream = session.is_server_ ? session.find(id) : nullptr;
    if (stream != nullptr && session.loop_.now() - stream->opened_ < limits::early_reset)
      session.charge(session.wasted_streams_, "too many calls were cancelled at once");
  }

  static int on_bad_frame(nghttp2_session*, const nghttp2_frame*, int, void* user) {
    session_of(user).charge(session_of(user).wasted_streams_, "too many bad frames");
    return 0;
  }

  // A GOAWAY for an error, theirs or nghttp2's, says why the connection will end.
  static void fail_by(H2Session& session, std::string what, const nghttp2_goaway& goaway) {
    if (goaway.error_code == NGHTTP2_NO_ERROR || !session.failure_.ok()) return;
    what.append(": ").append(nghttp2_http2_strerror(goaway.error_code));
    std::string_view debug = view_of(goaway.opaque_data, goaway.opaque_data_len).substr(0, debug_bytes_max);
    if (!debug.empty()) what.append(", ").append(debug);
    session.failure_ = unavailable(std::move(what));
  }

  static void on_head(H2Session& session, int32_t id, bool last) {
    H2Stream* stream = session.find(id);
    if (stream == nullptr) return;
    Head head = std::exchange(stream->arriving_, Head());
    bool is_large = session.head_bytes_ > limits::metadata_bytes_soft;
    if (is_large && !std::exchange(session.had_large_head_, true)) session.up_.on_large_head(session.head_bytes_);
    if (session.arriving_.get() == stream) {
      StreamEvents& events = session.up_.on_stream(std::move(session.arriving_));
      if (session.find(id) == nullptr) return;  // it is not wanted
      stream->events_ = &events;
    }
    stream->events_->on_headers(std::move(head), last);
  }

  static void on_settings(H2Session& session) {
    session.quota_.on_settings(
        nghttp2_session_get_remote_settings(session.raw_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
    if (!std::exchange(session.has_settings_, true)) session.up_.on_settings();
  }

  static int on_frame_sent(nghttp2_session* raw, const nghttp2_frame* frame, void* user) {
    H2Session& session = session_of(user);
    if (frame->hd.type == NGHTTP2_HEADERS) on_head_sent(session, frame);
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) session.strikes_.on_sent();
    if (frame->hd.type == NGHTTP2_DATA)
      session.charge(session.control_frames_, {}, -limits::control_frames_per_data_sent);
    if (frame->hd.type == NGHTTP2_GOAWAY) fail_by(session, "no HTTP/2 with " + session.peer().address, frame->goaway);
    // A server that has said its last word stops an upload that nobody will read (RFC 9113, 8.1).
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
                (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA);
    if (session.is_server_ && ends && nghttp2_session_get_stream_remote_close(raw, frame->hd.stream_id) == 0)
      nghttp2_submit_rst_stream(raw, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
  }

  static void on_head_sent(H2Session& session, const nghttp2_frame* frame) {
    H2Stream* stream = session.find(frame->hd.stream_id);
    if (stream == nullptr) return;
    // Nothing points into it any more.
    (frame->headers.cat == NGHTTP2_HCAT_HEADERS ? stream->trailers_ : stream->head_) = Metadata();
  }

  static Fate fate_of(const H2Session& session, const H2Stream& stream, uint32_t code) {
    if (code == NGHTTP2_NO_ERROR) return Fate::processed;
    if (stream.is_unsent()) return Fate::unsent;
    if (code != NGHTTP2_REFUSED_STREAM) return Fate::unknown;
    // By this code nghttp2 also tells of streams that a GOAWAY leaves out.
    return session.going_away_ ? Fate::unprocessed : Fate::refused;
  }

  static int on_stream_close(nghttp2_session*, int32_t id, uint32_t code, void* user) {
    H2Session& session = session_of(user);
    H2Stream* stream = session.find(id);
    if (stream == nullptr) return 0;
    if (session.arriving_.get() == stream) {
      session.remove(stream);  // its header block was refused: nobody has heard of it
      session.arriving_.reset();
      return 0;
    }
    Fate fate = fate_of(session, *stream, code);
    if (fate == Fate::processed) session.quota_.on_answered();
    if (fate == Fate::refused) session.quota_.on_refused(session.open_count_ - 1);
    session.close(stream, fate == Fate::processed ? Status() : status_of_h2(code), fate);
    return 0;
  }

  static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* header, size_t size, nghttp2_data_source*,
                       void* user) {
    H2Session& session = session_of(user);
    // One mem_send goes through all such frames, so the bound must be seen here too.
    if (!session.has_room()) return NGHTTP2_ERR_WOULDBLOCK;
    H2Stream* stream = session.find(frame->hd.stream_id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    std::vector<Bytes> slices;
    stream->take(size, &slices);
    // Behind what waits to be written, else by itself: a block of the usual size for nine bytes would be waste.
    if (session.output_ != nullptr)
      session.append(header, 9);
    else
      session.append(Bytes::copy(view_of(header, 9)));
    for (Bytes& slice : slices) session.append(std::move(slice));
    return 0;
  }
};

nghttp2_session_callbacks* h2_callbacks() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, H2Callbacks::on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, H2Callbacks::on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, H2Callbacks::on_data_chunk);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, H2Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, H2Callbacks::on_frame_sent);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, H2Callbacks::on_stream_close);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, H2Callbacks::on_bad_frame);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, H2Callbacks::send_data);

  return callbacks;
}

}  // namespace nebula
