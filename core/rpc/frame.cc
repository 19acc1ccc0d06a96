// rpc/frame.cc - prefixes written, prefixes read.
#include "rpc/frame.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/assert.h"

namespace nebula {

namespace {

// Memory for a message grows with what has arrived, so that a lying prefix costs nothing: at least so much, and at most
// so many times of it. From four on a message of 64 KiB in frames of 16 KiB is not copied once more.
constexpr size_t first_room = 4u << 10;
constexpr size_t growth = 4;

void write_prefix(char* at, size_t size, bool is_compressed) {
  at[0] = is_compressed ? 1 : 0;
  for (int i = 0; i < 4; i++) at[1 + i] = static_cast<char>(size >> (24 - 8 * i));
}

}  // namespace

Bytes frame_message(Bytes message, Encoding encoding) {
  bool is_compressed = false;
  if (encoding != Encoding::identity) {
    if (std::optional<Bytes> packed = compress(encoding, message.view())) {
      message = std::move(*packed);
      is_compressed = true;
    }
  }
  Block* block = message.block();
  if (block != nullptr && message.data() == block->data() && !block->is_shared()) {
    size_t size = message.size();
    char* room = nullptr;
    Bytes framed = std::move(message).with_headroom(frame_prefix_bytes, &room);
    write_prefix(room, size, is_compressed);
    return framed;
  }
  Block* framed = Block::make(frame_prefix_bytes + message.size());
  NEBULA_ASSERT(framed != nullptr);
  write_prefix(framed->data(), message.size(), is_compressed);
  if (!message.empty()) std::memcpy(framed->data() + frame_prefix_bytes, message.data(), message.size());
  framed->set_size(frame_prefix_bytes + message.size());
  return Bytes::adopt(framed);
}

FrameReader::~FrameReader() {
  if (message_ != nullptr) message_->unref();
}

Result<std::optional<Frame>> FrameReader::next() {
  if (prefix_size_ < frame_prefix_bytes) {
    size_t part = std::min(frame_prefix_bytes - prefix_size_, chunk_.size());
    if (part > 0) std::memcpy(prefix_ + prefix_size_, chunk_.data(), part);
    prefix_size_ += part;
    skip(part);
    if (prefix_size_ < frame_prefix_bytes) return std::optional<Frame>();
    if (Status status = begin(); !status.ok()) return status;
  }
  if (message_ == nullptr && chunk_.size() >= message_size_) {
    Bytes message = message_size_ == 0 ? Bytes::copy({}) : chunk_.slice(0, message_size_);
    skip(message_size_);
    prefix_size_ = 0;
    // It may wait for its turn, and must not hold the whole of a read buffer meanwhile.
    if (prefix_[0] != 0) message = Bytes::copy(message.view());
    return std::optional<Frame>({std::move(message), prefix_[0] != 0});
  }
  if (chunk_.empty()) return std::optional<Frame>();
  collect();
  if (message_->size() < message_size_) return std::optional<Frame>();
  prefix_size_ = 0;
  return std::optional<Frame>({Bytes::adopt(std::exchange(message_, nullptr)), prefix_[0] != 0});
}

std::optional<Run> FrameReader::next_run() {
  if (prefix_size_ > 0) return std::nullopt;
  Extent extent = whole_messages(chunk_.view(), max_);
  if (extent.count < 2) return std::nullopt;
  Run run{chunk_.slice(0, extent.bytes), extent.count};
  skip(extent.bytes);
  return run;
}

Result<Bytes> FrameReader::open(Frame frame, Pace* pace) const {
  if (!frame.is_compressed) return std::move(frame.payload);
  Result<Bytes> message = inflate(encoding_, frame.payload.view(), max_);
  if (pace != nullptr) pace->spend(message.ok() ? (*message).size() : max_);
  return message;
}

Status FrameReader::begin() {
  message_size_ = static_cast<size_t>(prefix_[1]) << 24 | static_cast<size_t>(prefix_[2]) << 16 |
                  static_cast<size_t>(prefix_[3]) << 8 | prefix_[4];
  if (prefix_[0] > 1) return internal("the flag byte of a message is " + std::to_string(prefix_[0]) + ", not 0 or 1");
  if (prefix_[0] == 1 && encoding_ == Encoding::identity)
    return internal("a message is marked as compressed, but no grpc-encoding was agreed");
  if (message_size_ > max_)
    return resource_exhausted("a message of " + std::to_string(message_size_) + " bytes is over the limit of " +
                              std::to_string(max_));
  return {};
}

// What is empty holds nothing: it would be the whole of a read buffer.
void FrameReader::skip(size_t size) {
  chunk_ = size == chunk_.size() ? Bytes() : chunk_.slice(size, chunk_.size() - size);
}

void FrameReader::collect() {
  size_t have = message_ == nullptr ? 0 : message_->size();
  size_t part = std::min(message_size_ - have, chunk_.size());
  if (message_ == nullptr || have + part > message_->capacity()) {
    size_t capacity = std::min(message_size_, std::max(growth * (have + part), first_room));
    Block* larger = Block::make(capacity);
    NEBULA_ASSERT(larger != nullptr);
    if (have > 0) std::memcpy(larger->data(), message_->data(), have);
    if (message_ != nullptr) message_->unref();
    message_ = larger;
  }
  std::memcpy(message_->data() + have, chunk_.data(), part);
  message_->set_size(have + part);
  skip(part);
}

}  // namespace nebula
