// http2/frame_reader.cc - one frame after the other, however the bytes are cut.
#include "http2/frame_reader.h"

#include <algorithm>
#include <cstring>

#include "http2/stream.h"

namespace nebula {

using namespace h2;

namespace {

// A stream must not depend on itself (RFC 7540, 5.3.1); nothing else of priorities is left.
bool depends_on(std::string_view payload, uint32_t id) {
  return (number_at(payload.data()) & stream_id_mask) == id;
}

}  // namespace

H2FrameReader::H2FrameReader(bool is_server) : is_server_(is_server), step_(is_server ? Step::preface : Step::begin) {}

// The next `size` bytes as one: in place if all of them are there, else put together. No data: they are not complete.
std::string_view H2FrameReader::gather(size_t size, std::string_view* bytes) {
  if (kept_size_ == 0 && bytes->size() >= size) {
    std::string_view whole = bytes->substr(0, size);
    bytes->remove_prefix(size);
    return whole;
  }
  size_t part = std::min(size - kept_size_, bytes->size());
  std::memcpy(kept_ + kept_size_, bytes->data(), part);
  kept_size_ += part;
  bytes->remove_prefix(part);
  if (kept_size_ < size) return {};
  kept_size_ = 0;
  return {kept_, size};
}

bool H2FrameReader::feed(std::string_view bytes, H2FrameEvents& up) {
  while (true) {
    switch (step_) {
      case Step::preface: {
        size_t part = std::min(client_preface.size() - kept_size_, bytes.size());
        if (bytes.substr(0, part) != client_preface.substr(kept_size_, part)) return up.on_bad_preface(), false;
        kept_size_ += part;
        bytes.remove_prefix(part);
        if (kept_size_ < client_preface.size()) return true;
        kept_size_ = 0;
        step_ = Step::begin;
        break;
      }
      case Step::begin: {
        if (bytes.empty()) return true;
        std::string_view head = gather(frame_head_bytes, &bytes);
        if (head.empty()) return true;
        frame_ = frame_head_at(head.data());
        if (!begin(up)) return false;
        break;
      }
      case Step::fixed: {
        std::string_view payload;
        if (want_ > 0 && (payload = gather(want_, &bytes)).empty()) return true;
        left_ -= want_;
        step_ = Step::rest;
        if (!fixed(payload, up)) return false;
        break;
      }
      case Step::body: {
        if (bytes.empty() && left_ > 0) return true;
        std::string_view part = bytes.substr(0, left_);
        bytes.remove_prefix(part.size());
        left_ -= part.size();
        if (!body(part, up)) return false;
        break;
      }
      case Step::rest: {
        size_t part = std::min(left_, bytes.size());
        bytes.remove_prefix(part);
        left_ -= part;
        if (left_ > 0) return true;
        step_ = Step::begin;
        if (frame_.type == data_frame) {
          size_t padding = padding_ + (frame_.has(flag_padded) ? 1 : 0);
          if (!up.on_body_end(frame_.id, padding, frame_.has(flag_end_stream))) return false;
        }
        break;
      }
    }
  }
}

bool H2FrameReader::bad(uint32_t h2_code, std::string_view why, H2FrameEvents& up) {
  up.on_bad_frame(h2_code, why);
  return false;
}

bool H2FrameReader::want_exactly(size_t size, H2FrameEvents& up) {
  want_ = size;
  return frame_.length == size || bad(frame_size_error, "a frame of a wrong size", up);
}

void H2FrameReader::count() {
  frames_++;
  if (frame_.type == headers_frame) {
    cost_ -= earned_by_request;
  } else if (frame_.type == data_frame) {
    // One of padding alone is as empty as one of no length.
    bool is_empty = frame_.length == 0 || (frame_.has(flag_padded) && frame_.length <= 256);
    if (is_empty && !frame_.has(flag_end_stream)) cost_++;
  } else if (frame_.type != continuation_frame) {
    cost_++;
  }
}

bool H2FrameReader::begin(H2FrameEvents& up) {
  count();
  if (frame_.length > frame_bytes_max) return bad(frame_size_error, "a frame is too large", up);
  if (!has_settings_ && (frame_.type != settings_frame || frame_.has(flag_ack)))
    return bad(protocol_error, "SETTINGS expected", up);
  if (is_head_open_ && (frame_.type != continuation_frame || frame_.id != head_id_))
    return bad(protocol_error, "CONTINUATION expected", up);
  bool is_of_stream = frame_.type <= rst_stream_frame || frame_.type == continuation_frame;
  bool is_of_connection =
      frame_.type == settings_frame || frame_.type == ping_frame || frame_.type == goaway_frame;
  if (is_of_stream && frame_.id == 0) return bad(protocol_error, "a frame of no stream", up);
  if (is_of_connection && frame_.id != 0) return bad(protocol_error, "a frame of a stream that is none's", up);
  left_ = frame_.length;
  padding_ = 0;
  want_ = 0;
  step_ = Step::fixed;
  switch (frame_.type) {
    case data_frame:
      if (!up.on_body_begin(frame_)) return false;
      if (frame_.has(flag_padded)) want_ = 1;
      break;
    case headers_frame: want_ = (frame_.has(flag_padded) ? 1 : 0) + (frame_.has(flag_priority) ? 5 : 0); break;
    case priority_frame: return want_exactly(5, up);
    case rst_stream_frame:
    case window_update_frame: return want_exactly(4, up);
    case ping_frame: return want_exactly(8, up);
    case settings_frame:
      if (frame_.has(flag_ack)) return want_exactly(0, up);
      if (left_ % setting_bytes != 0) return bad(frame_size_error, "SETTINGS of a wrong size", up);
      if (left_ > settings_bytes_max) return bad(enhance_your_calm, "too many settings", up);
      want_ = left_;
      break;
    case push_promise_frame: return bad(protocol_error, "nobody may push here", up);
    case goaway_frame: want_ = std::clamp<size_t>(left_, 8, kept_max); break;
    case continuation_frame:
      if (!is_head_open_) return bad(protocol_error, "a CONTINUATION of nothing", up);
      if (++continuations_ > limits::continuations_max)
        return bad(enhance_your_calm, "too many CONTINUATION frames", up);
      break;
    default: step_ = Step::rest;
  }
  return left_ >= want_ || bad(frame_size_error, "a frame is too small", up);
}

bool H2FrameReader::fixed(std::string_view payload, H2FrameEvents& up) {
  switch (frame_.type) {
    case data_frame:
    case headers_frame:
      if (frame_.has(flag_padded)) {
        padding_ = static_cast<uint8_t>(payload[0]);
        payload.remove_prefix(1);
        if (padding_ > left_) return bad(protocol_error, "more padding than payload", up);
        left_ -= padding_;
      }
      step_ = Step::body;
      if (frame_.type == data_frame) return true;
      if (frame_.has(flag_priority) && depends_on(payload, frame_.id))
        return bad(protocol_error, "a stream that depends on itself", up);
      head_id_ = frame_.id;
      is_head_open_ = true;
      continuations_ = 0;
      return up.on_head_begin(frame_.id, frame_.has(flag_end_stream));
    case continuation_frame: step_ = Step::body; return true;
    case priority_frame:
      return !depends_on(payload, frame_.id) || bad(protocol_error, "a stream that depends on itself", up);
    case rst_stream_frame: return up.on_reset(frame_.id, number_at(payload.data()));
    case settings_frame: return settings(payload, up);
    case ping_frame: return up.on_ping(frame_.has(flag_ack), payload);
    case goaway_frame:
      return up.on_goaway(number_at(payload.data()) & stream_id_mask, number_at(payload.data() + 4), payload.substr(8));
    default: return up.on_window_update(frame_.id, number_at(payload.data()) & stream_id_mask);
  }
}

bool H2FrameReader::body(std::string_view part, H2FrameEvents& up) {
  bool is_end = left_ == 0;
  if (is_end) {
    left_ = padding_;
    step_ = Step::rest;
  }
  if (frame_.type == data_frame) return part.empty() || up.on_body(frame_.id, part);
  is_head_open_ = !(is_end && frame_.has(flag_end_headers));
  return up.on_head(part, !is_head_open_);
}

bool H2FrameReader::settings(std::string_view payload, H2FrameEvents& up) {
  has_settings_ = true;
  for (; !payload.empty(); payload.remove_prefix(setting_bytes)) {
    uint16_t name = static_cast<uint16_t>(number_at(payload.data()) >> 16);
    uint32_t value = number_at(payload.data() + 2);
    bool is_bool = name == enable_push || name == enable_connect_protocol;
    if (is_bool && value > 1) return bad(protocol_error, "a setting that is neither 0 nor 1", up);
    if (name == enable_push && value != 0 && !is_server_) return bad(protocol_error, "nobody may push here", up);
    if (name == initial_window_size && value > window_max) return bad(flow_control_error, "a window is too large", up);
    if (name == max_frame_size && (value < frame_bytes_max || value > 0xffffff))
      return bad(protocol_error, "a largest frame of a wrong size", up);
    if (!up.on_setting(name, value)) return false;
  }
  return up.on_settings_end(frame_.has(flag_ack));
}

}  // namespace nebula
