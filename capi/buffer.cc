// capi/buffer.cc - nebula_buffer is a Block: counted memory with room in front for the frame headers.
#include "base/bytes.h"
#include "nebula.h"

using nebula::Block;

namespace {

Block* block_of(nebula_buffer* buffer) { return reinterpret_cast<Block*>(buffer); }

}  // namespace

extern "C" {

nebula_buffer* nebula_buffer_new(uint32_t size) {
  Block* block = Block::make(size);
  if (block != nullptr) block->set_size(size);
  return reinterpret_cast<nebula_buffer*>(block);
}

void* nebula_buffer_data(nebula_buffer* buffer) { return buffer == nullptr ? nullptr : block_of(buffer)->data(); }

int32_t nebula_buffer_trim(nebula_buffer* buffer, uint32_t size) {
  if (buffer == nullptr || size > block_of(buffer)->size()) return NEBULA_E_ARGUMENT;
  block_of(buffer)->set_size(size);
  return NEBULA_OK;
}

nebula_buffer* nebula_buffer_ref(nebula_buffer* buffer) {
  if (buffer != nullptr) block_of(buffer)->ref();
  return buffer;
}

void nebula_buffer_unref(nebula_buffer* buffer) {
  if (buffer != nullptr) block_of(buffer)->unref();
}

}  // extern "C"
