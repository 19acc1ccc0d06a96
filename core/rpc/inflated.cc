// rpc/inflated.cc - a block, and a larger one when it is full.
#include "rpc/inflated.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/assert.h"

namespace nebula {

namespace {

constexpr size_t first_room = 1u << 10;
constexpr size_t usual_ratio = 8;
constexpr size_t growth = 2;

Block* block_of(size_t capacity) {
  Block* block = Block::make(capacity);
  NEBULA_ASSERT(block != nullptr);
  return block;
}

}  // namespace

// One byte more than the message may have, so that an inflater that has filled the room and needs no more of it comes to its end.
Inflated::Inflated(size_t packed_size, size_t size_max)
    : size_max_(size_max), block_(block_of(std::min(std::max(usual_ratio * packed_size, first_room), size_max) + 1)) {}

Inflated::~Inflated() {
  if (block_ != nullptr) block_->unref();
}

char* Inflated::room() {
  if (room_size() == 0) {
    Block* larger = block_of(std::min(growth * block_->capacity(), size_max_ + 1));
    std::memcpy(larger->data(), block_->data(), block_->size());
    larger->set_size(block_->size());
    block_->unref();
    block_ = larger;
  }
  return block_->data() + block_->size();
}

Bytes Inflated::take() { return Bytes::adopt(std::exchange(block_, nullptr)); }

Status Inflated::too_large(size_t size_max) {
  return resource_exhausted("a compressed message is larger than the limit of " + std::to_string(size_max) + " bytes");
}

}  // namespace nebula
