// http2/frame_writer.h - frames on their way to a Conn: small ones behind one another in one buffer, large bodies as they
// are.
//
// The buffer is kept from turn to turn while the Conn keeps nothing of it. Nothing leaves before flush().
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "http2/frames.h"
#include "transport/transport.h"

namespace nebula {

class H2FrameWriter {
 public:
  explicit H2FrameWriter(Conn& conn) : conn_(conn) {}
  H2FrameWriter(const H2FrameWriter&) = delete;
  H2FrameWriter& operator=(const H2FrameWriter&) = delete;
  ~H2FrameWriter() { release(); }

  // Room for `size` bytes in a row, at most room_max; `took` says how many there are then.
  char* room(size_t size);
  void took(size_t size) { end_ += size; }
  static constexpr size_t room_max = 16u << 10;

  void frame(h2::FrameType type, uint8_t flags, uint32_t id, std::string_view payload);
  void number_frame(h2::FrameType type, uint32_t id, uint32_t number);  // RST_STREAM, WINDOW_UPDATE
  void append(std::string_view text);
  void append(Bytes data);  // uncopied

  void flush();
  void release();           // there will not be more soon: drops the buffer, and what is in it

  size_t pending() const { return end_ - begin_; }  // not flushed
  uint64_t flushed() const { return flushed_; }     // since the beginning

 private:
  Conn& conn_;
  Block* block_ = nullptr;
  size_t begin_ = 0, end_ = 0;  // what of it is to be flushed
  uint64_t flushed_ = 0;
};

}  // namespace nebula
