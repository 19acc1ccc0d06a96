// http2/frame_meter.h - follows the frames of a connection by their headers alone, beside the library that parses them.
//
// It sees what the library's callbacks do not tell: frames that are dropped, and one of which only a part has come.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace nebula {

class FrameMeter {
 public:
  explicit FrameMeter(size_t preface_size) : skip_(preface_size) {}  // 24 where a client's preface comes first

  // Takes the next bytes. What they cost: one for each frame that makes work and carries nothing, less what each
  // request brings in.
  int64_t feed(std::string_view bytes) {
    int64_t cost = 0;
    while (!bytes.empty()) {
      size_t part = std::min(skip_ > 0 ? skip_ : header_size - have_, bytes.size());
      if (skip_ > 0)
        skip_ -= part;
      else
        have_ += bytes.copy(header_ + have_, part);
      bytes.remove_prefix(part);
      if (have_ == header_size) cost += begin();
    }
    return cost;
  }

  bool is_inside_head() const { return more_head_ || (is_head_ && skip_ > 0); }  // a header block is not complete
  bool is_inside() const { return more_head_ || (frames_ > 0 && skip_ > 0) || have_ > 0; }
  uint64_t frames() const { return frames_; }                                    // begun so far

 private:
  static constexpr size_t header_size = 9;  // RFC 9113, 4.1
  static constexpr uint8_t data = 0, headers = 1, continuation = 9;
  static constexpr uint8_t end_stream = 1, end_headers = 4, padded = 8;
  // A client may answer what it gets with a WINDOW_UPDATE or two and a PING.
  static constexpr int64_t earned_by_request = 4;

  int64_t begin() {
    auto byte = [this](size_t at) { return static_cast<uint8_t>(header_[at]); };
    size_t length = static_cast<size_t>(byte(0)) << 16 | static_cast<size_t>(byte(1)) << 8 | byte(2);
    uint8_t type = byte(3), flags = byte(4);
    have_ = 0;
    skip_ = length;
    frames_++;
    is_head_ = type == headers || type == continuation;
    more_head_ = is_head_ && (flags & end_headers) == 0;
    if (type == headers) return -earned_by_request;
    // One of padding alone is as empty as one of no length.
    bool is_empty = length == 0 || ((flags & padded) != 0 && length <= 256);
    if (type == data) return is_empty && (flags & end_stream) == 0 ? 1 : 0;
    return is_head_ ? 0 : 1;
  }

  char header_[header_size];
  size_t have_ = 0;  // bytes of header_
  size_t skip_;      // bytes to come before the next header
  uint64_t frames_ = 0;
  bool is_head_ = false;    // the last frame is of a header block
  bool more_head_ = false;  // and not the last of it
};

}  // namespace nebula
