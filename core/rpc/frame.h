// rpc/frame.h - the five bytes before every gRPC message: a compressed flag and the length (PROTOCOL-HTTP2).
#pragma once

#include <cstddef>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "rpc/compress.h"
#include "rpc/pace.h"
#include "rpc/run.h"

namespace nebula {

// The message with its prefix, compressed where there is an encoding and it gets smaller. The prefix is put in front of
// the message where its block has room, else it is copied.
Bytes frame_message(Bytes message, Encoding encoding = Encoding::identity);

// A message as it came.
struct Frame {
  Bytes payload;
  bool is_compressed = false;
};

// Cuts messages out of the chunks in which they arrive. They stay compressed until somebody wants them, so that what
// waits is bounded by what has been sent.
class FrameReader {
 public:
  explicit FrameReader(size_t message_bytes_max, Encoding encoding = Encoding::identity)
      : max_(message_bytes_max), encoding_(encoding) {}
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  Encoding encoding() const { return encoding_; }  // the peer's "grpc-encoding"
  void set_encoding(Encoding encoding) { encoding_ = encoding; }

  // Gives the reader a chunk; every message is to be taken by next() before the chunk after it.
  void feed(Bytes chunk) { chunk_ = std::move(chunk); }

  // The next whole message, or nothing: more is needed. resource_exhausted: over the limit, seen before anything is
  // allocated for it; internal: the flag byte is wrong. After an error the reader is of no more use.
  Result<std::optional<Frame>> next();

  // The messages that lie whole and uncompressed ahead of the next one, if they are several. They are to be taken first.
  std::optional<Run> next_run();

  // The message of a frame; what it costs to inflate it is spent. resource_exhausted: inflated it is over the limit;
  // internal: it is broken.
  Result<Bytes> open(Frame frame, Pace* pace = nullptr) const;

  bool is_inside() const { return prefix_size_ > 0; }  // a message has begun and is not complete

 private:
  Status begin();
  void collect();
  void skip(size_t size);

  const size_t max_;
  Encoding encoding_;
  Bytes chunk_;
  unsigned char prefix_[frame_prefix_bytes];
  size_t prefix_size_ = 0;
  size_t message_size_ = 0;   // valid when the prefix is whole
  Block* message_ = nullptr;  // only for a message that does not lie in one chunk
};

}  // namespace nebula
