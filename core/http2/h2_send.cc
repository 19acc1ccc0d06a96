// http2/h2_send.cc - what streams have to say becomes frames: each in its turn, a frame of a body at a time.
//
// Those with something new go first, so that a large body does not hold up small messages; for each frame's worth of
// theirs one of the others gets its turn, so that nobody waits for ever. Control frames do not pass through here: they
// were written when their reason came, and so are ahead.
#include <algorithm>

#include "base/assert.h"
#include "http2/h2_session.h"

namespace nebula {

namespace {

// A piece of a body from here on is handed to the Conn as it is; below, one copy is cheaper. It is the piece that counts:
// a frame of small messages would else be written as hundreds of them.
constexpr size_t no_copy_min = 4096;

uint8_t end_stream_if(bool last) { return last ? h2::flag_end_stream : 0; }

}  // namespace

void H2Session::ready(H2Stream* stream) {
  // In bulk_ it keeps its turn, and the connection's window stops its body and what comes after that.
  if (stream->place_.queue == nullptr || stream->is_resetting_) fresh_.push(stream);
  flush_later();
}

// It may go on with its body.
void H2Session::ready_by_window(H2Stream* stream) {
  if (stream->body_.bytes() > 0 && stream->place_.queue == nullptr) ready(stream);
}

void H2Session::send_streams() {
  while (has_room() && !(fresh_.empty() && bulk_.empty())) {
    bool is_bulks_turn = fresh_.empty() || (!bulk_.empty() && fresh_bytes_ >= h2::frame_bytes_max);
    send(is_bulks_turn ? bulk_.pop() : fresh_.pop());
    if (is_bulks_turn) fresh_bytes_ = 0;
  }
}

// Whoever hears of the end of a stream in here may do anything to it and to others.
void H2Session::send(H2Stream* stream) {
  if (stream->is_resetting_) {
    if (stream->is_on_wire_) send_reset(stream->id_, stream->reset_code_);
    return close_by(stream, stream->reset_code_);
  }
  if (!stream->has_sent_head_ && !send_head(stream)) return;
  if (!send_body(stream)) return;
  if (stream->has_trailers_) {
    send_block(stream->id_, stream->trailers_, true);
    strikes_.on_sent();
  }
  on_end_sent(stream);
}

// False: it has ended.
bool H2Session::send_head(H2Stream* stream) {
  if (!is_server_) {
    if (going_away_) return close_by(stream, h2::refused_stream), false;
    last_id_ = stream->id_;
    put_on_wire(stream);
  }
  stream->has_sent_head_ = true;
  // A body that turned out to be empty ends with an empty DATA frame, for which grpc-go's server waits (gRPC's
  // PROTOCOL-HTTP2.md, Requests).
  bool last = stream->head_is_all_;
  send_block(stream->id_, std::exchange(stream->head_, Metadata()), last);
  strikes_.on_sent();
  if (last) on_end_sent(stream);
  return !last;
}

// HEADERS, and as many CONTINUATIONs as it takes.
void H2Session::send_block(uint32_t id, const Metadata& head, bool last) {
  size_t most = HpackEncoder::bound(head);
  if (h2::frame_head_bytes + most <= H2FrameWriter::room_max) {
    char* at = writer_.room(h2::frame_head_bytes + most);
    size_t size = encoder_.encode(head, at + h2::frame_head_bytes);
    uint8_t flags = h2::flag_end_headers | end_stream_if(last);
    h2::put_frame_head(at, {static_cast<uint32_t>(size), h2::headers_frame, flags, id});
    return writer_.took(h2::frame_head_bytes + size);
  }
  std::string block(most, '\0');
  block.resize(encoder_.encode(head, block.data()));
  std::string_view left = block;
  for (h2::FrameType type = h2::headers_frame; !left.empty(); type = h2::continuation_frame) {
    std::string_view part = left.substr(0, h2::frame_bytes_max);
    left.remove_prefix(part.size());
    uint8_t flags = left.empty() ? h2::flag_end_headers : 0;
    if (type == h2::headers_frame) flags |= end_stream_if(last);
    writer_.frame(type, flags, id, part);
  }
}

// One frame of the body. True: that was all, and what comes after it may follow.
bool H2Session::send_body(H2Stream* stream) {
  BodyQueue& body = stream->body_;
  bool has_end = stream->body_ended_ && !stream->has_trailers_;
  if (body.bytes() == 0 && !has_end) return stream->body_ended_;
  int64_t window = std::min(stream->send_window_, send_window_);
  size_t size = std::min(body.bytes(), h2::frame_bytes_max);
  if (static_cast<int64_t>(size) > window) size = static_cast<size_t>(std::max<int64_t>(window, 0));
  if (size == 0 && body.bytes() > 0) {  // it goes on when the window does
    if (stream->send_window_ > 0) starved_.push(stream);
    return false;
  }
  bool is_all = size == body.bytes();
  char* at = writer_.room(h2::frame_head_bytes);
  h2::put_frame_head(at, {static_cast<uint32_t>(size), h2::data_frame, end_stream_if(is_all && has_end), stream->id_});
  writer_.took(h2::frame_head_bytes);
  int64_t messages = 0;
  for (size_t left = size; left > 0;) {
    BodyQueue::Piece piece = body.pop(left);
    left -= piece.bytes.size();
    messages += piece.messages;
    piece.bytes.size() < no_copy_min ? writer_.append(piece.bytes.view()) : writer_.append(std::move(piece.bytes));
  }
  body_room_->release(size);
  send_window_ -= static_cast<int64_t>(size);
  stream->send_window_ -= static_cast<int64_t>(size);
  stream->body_taken_ += size;
  fresh_bytes_ += h2::frame_head_bytes + size;
  strikes_.on_sent();
  // A peer may answer each message in the frame: gRPC C++ does, with WINDOW_UPDATEs and PINGs.
  control_frames_.spend(loop_.now(), -limits::control_frames_per_data_sent * std::max<int64_t>(messages, 1));
  stream->tell_writable();
  if (!is_all) bulk_.push(stream);
  return is_all && stream->body_ended_;
}

void H2Session::send_reset(uint32_t id, uint32_t h2_code) {
  has_left_streams_ = true;
  writer_.number_frame(h2::rst_stream_frame, id, h2_code);
}

void H2Session::on_end_sent(H2Stream* stream) {
  // A server that has said its last word stops an upload that nobody will read (RFC 9113, 8.1).
  if (is_server_ && !stream->peer_ended_) send_reset(stream->id_, h2::no_error);
  stream->we_ended_ = true;
  if (is_server_ || stream->peer_ended_) close_by(stream, h2::no_error);
}

}  // namespace nebula
