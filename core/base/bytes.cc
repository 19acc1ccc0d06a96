// base/bytes.cc - blocks from malloc, whose per-thread caches are the pool.
#include "base/bytes.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "base/assert.h"

namespace nebula {

Block* Block::make(size_t capacity) {
  void* memory = std::malloc(sizeof(Block) + headroom + capacity);
  return memory == nullptr ? nullptr : new (memory) Block(capacity);
}

void Block::destroy() {
  this->~Block();
  std::free(this);
}

Bytes Bytes::copy(std::string_view text) {
  Block* block = Block::make(text.size());
  NEBULA_ASSERT(block != nullptr);
  if (!text.empty()) std::memcpy(block->data(), text.data(), text.size());
  block->set_size(text.size());
  return adopt(block);
}

Bytes Bytes::adopt(Block* block) {
  Bytes bytes;
  bytes.block_ = block;
  bytes.data_ = block->data();
  bytes.size_ = block->size();
  return bytes;
}

Bytes Bytes::with_headroom(size_t size, char** room) && {
  NEBULA_ASSERT(size <= Block::headroom && data_ == block_->data() && !block_->is_shared());
  *room = block_->data() - size;
  Bytes whole(std::move(*this));
  whole.data_ -= size;
  whole.size_ += size;
  return whole;
}

Bytes Bytes::slice(size_t from, size_t size) const {
  NEBULA_ASSERT(from <= size_ && size <= size_ - from);
  Bytes part(*this);
  part.data_ += from;
  part.size_ = size;
  return part;
}

}  // namespace nebula
