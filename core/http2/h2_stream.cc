// http2/h2_stream.cc - what the owner of one stream asks of it.
#include "base/assert.h"
#include "base/limits.h"
#include "http2/h2_session.h"

namespace nebula {

H2Stream::H2Stream(H2Session& session, StreamEvents* events)
    : session_(&session), events_(events), send_window_(session.peers_window_) {}

H2Stream::~H2Stream() {
  if (holder_ != nullptr) {
    *link_ = next_;
    if (next_ != nullptr) next_->link_ = link_;
    holder_->held_count_--;
  }
  if (session_ == nullptr) return;
  if (is_on_wire_) session_->send_reset(id_, h2::cancel);
  session_->flush_later();
  session_->remove(this);
}

bool H2Stream::is_unsent() const { return session_ != nullptr && !session_->is_server_ && !is_on_wire_; }

void H2Stream::headers(Metadata head, bool last) {
  if (session_ == nullptr) return;
  if (!has_head_) {
    has_head_ = true;
    head_ = std::move(head);
    head_is_all_ = last;
    if (last) end_body();
    if (!session_->is_server_) id_ = std::exchange(session_->next_id_, session_->next_id_ + 2);
  } else {
    NEBULA_ASSERT(last && !body_ended_);
    trailers_ = std::move(head);
    has_trailers_ = true;
    end_body();
  }
  session_->ready(this);
}

void H2Stream::end_body() {
  body_ended_ = true;
  session_->ending_count_++;
}

bool H2Stream::data(Bytes data, bool last, uint32_t messages) {
  if (session_ == nullptr) return true;
  NEBULA_ASSERT(has_head_ && !body_ended_);
  if (last) end_body();
  if (!data.empty()) {
    session_->body_room_->keep(data.size());
    body_.push({std::move(data), messages});
  }
  session_->ready(this);
  over_mark_ = kept_bytes() > limits::stream_send_high;
  return !over_mark_;
}

size_t H2Stream::kept_bytes() const { return body_.bytes() + body_.pieces() * limits::event_bytes; }

void H2Stream::tell_writable() {
  if (!over_mark_ || kept_bytes() > limits::stream_send_low) return;
  over_mark_ = false;
  // Out of the flush first: the owner may answer with more data, or destroy the stream.
  session_->loop_.later([self = session_->anchor_.ref(), id = id_] {
    H2Session* session = self.get();
    H2Stream* stream = session != nullptr ? session->find(id) : nullptr;
    if (stream != nullptr) stream->events_->on_writable();
  });
}

void H2Stream::consumed(size_t byte_count) {
  if (session_ == nullptr || byte_count == 0) return;
  window_.read += byte_count;
  uint32_t increment = credit_.give_back(byte_count, window_.bytes);
  if (increment == 0 || peer_ended_ || is_resetting_) return;
  session_->writer_.number_frame(h2::window_update_frame, id_, increment);
  session_->flush_later();
}

void H2Stream::reset(uint32_t h2_code) {
  if (session_ == nullptr || !(has_head_ || is_on_wire_) || std::exchange(is_resetting_, true)) return;
  reset_code_ = h2_code;
  session_->ready(this);
}

void H2Stream::awaits_rest(bool on) {
  if (session_ == nullptr || on == awaits_rest_) return;
  awaits_rest_ = on;
  on ? session_->awaiting_count_++ : session_->awaiting_count_--;
  if (on) session_->flush_later();  // which begins to look for stalls
}

}  // namespace nebula
