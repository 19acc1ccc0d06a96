// http2/frame_writer.cc - one block at a time.
#include "http2/frame_writer.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace nebula {

char* H2FrameWriter::room(size_t size) {
  if (block_ != nullptr && begin_ == end_ && !block_->is_shared()) begin_ = end_ = 0;
  if (block_ == nullptr || block_->capacity() - end_ < size) {
    flush();
    release();
    block_ = Block::make(room_max);
    NEBULA_ASSERT(block_ != nullptr && size <= room_max);
  }
  return block_->data() + end_;
}

void H2FrameWriter::frame(h2::FrameType type, uint8_t flags, uint32_t id, std::string_view payload) {
  char* at = room(h2::frame_head_bytes);
  h2::put_frame_head(at, {static_cast<uint32_t>(payload.size()), type, flags, id});
  took(h2::frame_head_bytes);
  append(payload);
}

void H2FrameWriter::number_frame(h2::FrameType type, uint32_t id, uint32_t number) {
  char text[4];
  h2::put_number(text, number);
  frame(type, 0, id, {text, sizeof text});
}

void H2FrameWriter::append(std::string_view text) {
  while (!text.empty()) {
    size_t left = block_ == nullptr ? 0 : block_->capacity() - end_;
    size_t part = std::min(text.size(), left > 0 ? left : room_max);
    std::memcpy(room(part), text.data(), part);
    took(part);
    text.remove_prefix(part);
  }
}

void H2FrameWriter::append(Bytes data) {
  flush();
  flushed_ += data.size();
  conn_.write(std::move(data));
}

void H2FrameWriter::flush() {
  if (begin_ == end_) return;
  block_->set_size(end_);
  flushed_ += end_ - begin_;
  conn_.write(Bytes::adopt(block_->ref()).slice(begin_, end_ - begin_));
  begin_ = end_;
}

void H2FrameWriter::release() {
  if (block_ != nullptr) std::exchange(block_, nullptr)->unref();
  begin_ = end_ = 0;
}

}  // namespace nebula
