// rpc/frame.h - the five bytes before every gRPC message: a compressed flag and the length (PROTOCOL-HTTP2).
#pragma once

#include <cstddef>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace nebula {

inline constexpr size_t frame_prefix_bytes = 5;

// The message with its prefix. Put in front of the message where its block has room, else copied.
Bytes frame_message(Bytes message);

// Cuts messages out of the chunks in which they arrive.
class FrameReader {
 public:
  explicit FrameReader(size_t message_bytes_max) : max_(message_bytes_max) {}
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  // Gives the reader a chunk; every message is to be taken by next() before the chunk after it.
  void feed(Bytes chunk) { chunk_ = std::move(chunk); }

  // The next whole message, or nothing: more is needed. resource_exhausted: over the limit, seen before anything is
  // allocated for it; internal: the flag byte is wrong. After an error the reader is of no more use.
  Result<std::optional<Bytes>> next();

  bool is_inside() const { return prefix_size_ > 0; }  // a message has begun and is not complete

 private:
  Status begin();
  void collect();

  const size_t max_;
  Bytes chunk_;
  unsigned char prefix_[frame_prefix_bytes];
  size_t prefix_size_ = 0;
  size_t message_size_ = 0;   // valid when the prefix is whole
  Block* message_ = nullptr;  // only for a message that does not lie in one chunk
};

}  // namespace nebula
