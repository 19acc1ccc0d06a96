// http2/h2_stream.cc - one stream: headers, body, flow credit.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/limits.h"
#include "http2/h2_session.h"

namespace nebula {

namespace {

// From here on a DATA frame's payload is handed to the Conn as slices; below, one copy is cheaper.
constexpr size_t no_copy_min = 4096;

// Values that differ from call to call would push the useful entries out of the encoder's table.
bool varies(std::string_view name) { return name == "grpc-timeout" || name == "grpc-message"; }

uint8_t* bytes_of(std::string_view text) {
  return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));  // nghttp2 only reads
}

// Points into `fields`, which must stay until nghttp2 has sent the block: nothing is copied.
std::vector<nghttp2_nv> nv_of(const Metadata& fields) {
  std::vector<nghttp2_nv> array;
  array.reserve(fields.count());
  for (Field field : fields) {
    uint8_t flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    if (varies(field.name)) flags |= NGHTTP2_NV_FLAG_NO_INDEX;
    array.push_back({bytes_of(field.name), bytes_of(field.value), field.name.size(), field.value.size(), flags});
  }
  return array;
}

}  // namespace

H2Stream::H2Stream(H2Session& session, StreamEvents* events) : session_(&session), events_(events) {}

H2Stream::~H2Stream() {
  if (holder_ != nullptr) {
    *link_ = next_;
    if (next_ != nullptr) next_->link_ = link_;
    holder_->held_count_--;
  }
  if (session_ == nullptr) return;
  H2Session* session = session_;
  if (id_ >= 0) {
    nghttp2_session_set_stream_user_data(session->raw_, id_, nullptr);
    nghttp2_submit_rst_stream(session->raw_, NGHTTP2_FLAG_NONE, id_, h2::cancel);
    session->keep_until_sent(std::move(head_));
    session->keep_until_sent(std::move(trailers_));
    session->flush_later();
  }
  session->remove(this);
}

bool H2Stream::is_unsent() const {
  return session_ != nullptr && !session_->is_server_ && (!has_head_ || !head_.empty());
}

void H2Stream::headers(Metadata head, bool last) {
  if (session_ == nullptr) return;
  if (!has_head_) {
    has_head_ = true;
    head_ = std::move(head);
    submit(!last);
  } else {
    NEBULA_ASSERT(last && !body_ended_);
    trailers_ = std::move(head);
    has_trailers_ = true;
    end_body();
    if (std::exchange(starved_, false)) nghttp2_session_resume_data(session_->raw_, id_);
  }
  session_->flush_later();
}

void H2Stream::end_body() {
  body_ended_ = true;
  session_->ending_count_++;
}

void H2Stream::submit(bool has_body) {
  std::vector<nghttp2_nv> nv = nv_of(head_);
  nghttp2_data_provider provider;
  provider.source.ptr = this;
  provider.read_callback = [](nghttp2_session* raw, int32_t id, uint8_t* room, size_t size, uint32_t* flags,
                              nghttp2_data_source*, void*) -> ssize_t {
    // By id: the stream may have been destroyed while its frames were waiting.
    void* stream = nghttp2_session_get_stream_user_data(raw, id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return static_cast<H2Stream*>(stream)->read(room, size, flags);
  };
  nghttp2_data_provider* body = has_body ? &provider : nullptr;
  if (session_->is_server_) {
    nghttp2_submit_response(session_->raw_, id_, nv.data(), nv.size(), body);
  } else {
    id_ = nghttp2_submit_request(session_->raw_, nullptr, nv.data(), nv.size(), body, this);
    NEBULA_ASSERT(id_ > 0);  // open() has seen to it that there are ids left
  }
}

bool H2Stream::data(Bytes data, bool last) {
  if (session_ == nullptr) return true;
  NEBULA_ASSERT(has_head_ && !body_ended_);
  if (last) end_body();
  if (!data.empty()) {
    body_bytes_ += data.size();
    session_->body_bytes_ += data.size();
    body_.push_back(std::move(data));
  }
  if (std::exchange(starved_, false)) nghttp2_session_resume_data(session_->raw_, id_);
  session_->flush_later();
  over_mark_ = kept_bytes() > limits::stream_send_high;
  return !over_mark_;
}

size_t H2Stream::kept_bytes() const { return body_bytes_ + body_.size() * limits::event_bytes; }

long H2Stream::read(uint8_t* room, size_t size, uint32_t* flags) {
  if (body_bytes_ == 0 && !body_ended_) {
    starved_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  size = std::min(size, body_bytes_);
  if (size >= no_copy_min) {
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;  // the session takes the slices when the frame's header is out
  } else {
    std::vector<Bytes> slices;
    take(size, &slices);
    for (const Bytes& slice : slices) {
      std::memcpy(room, slice.data(), slice.size());
      room += slice.size();
    }
  }
  size_t left = *flags & NGHTTP2_DATA_FLAG_NO_COPY ? body_bytes_ - size : body_bytes_;
  if (left == 0 && body_ended_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (has_trailers_) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      std::vector<nghttp2_nv> nv = nv_of(trailers_);
      nghttp2_submit_trailer(session_->raw_, id_, nv.data(), nv.size());
    }
  }
  return static_cast<long>(size);
}

void H2Stream::take(size_t size, std::vector<Bytes>* slices) {
  body_bytes_ -= size;
  session_->body_bytes_ -= size;
  body_taken_ += size;
  while (size > 0) {
    Bytes& front = body_.front();
    size_t part = std::min(size, front.size());
    slices->push_back(front.slice(0, part));
    if (part == front.size())
      body_.pop_front();
    else
      front = front.slice(part, front.size() - part);
    size -= part;
  }
  if (over_mark_ && kept_bytes() <= limits::stream_send_low) {
    over_mark_ = false;
    // Out of nghttp2's hands first: the owner may answer with more data, or destroy the stream.
    session_->loop_.later([self = session_->anchor_.ref(), id = id_] {
      H2Session* session = self.get();
      H2Stream* stream = session != nullptr ? session->find(id) : nullptr;
      if (stream != nullptr) stream->events_->on_writable();
    });
  }
}

void H2Stream::consumed(size_t byte_count) {
  if (session_ == nullptr || byte_count == 0) return;
  window_.read += byte_count;
  nghttp2_session_consume_stream(session_->raw_, id_, byte_count);
  session_->flush_later();
}

void H2Stream::reset(uint32_t h2_code) {
  if (session_ == nullptr || id_ < 0) return;
  nghttp2_submit_rst_stream(session_->raw_, NGHTTP2_FLAG_NONE, id_, h2_code);
  session_->flush_later();
}

void H2Stream::awaits_rest(bool on) {
  if (session_ == nullptr || on == awaits_rest_) return;
  awaits_rest_ = on;
  on ? session_->awaiting_count_++ : session_->awaiting_count_--;
}

bool H2Stream::has_room_for(size_t byte_count) const {
  if (session_ == nullptr || session_->body_bytes_ == 0) return true;
  bool is_miser = nghttp2_session_get_stream_remote_window_size(session_->raw_, id_) < limits::miser_window_bytes;
  return session_->body_bytes_ + byte_count <= (is_miser ? limits::miser_bodies_bytes_max : limits::session_bodies_bytes_max);
}

}  // namespace nebula
