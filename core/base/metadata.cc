// base/metadata.cc - the flat block: writing, walking, checking.
#include "base/metadata.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace nebula {

namespace {

// With what stands before it, a quarter of a KiB: most heads fit.
constexpr size_t first_room = 256 - sizeof(Block) - Block::headroom;

bool is_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  });
}

bool is_printable(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

Result<Metadata> Metadata::from_user(const void* block, size_t size) {
  const char* at = static_cast<const char*>(block);
  const char* end = at + size;
  Metadata metadata;
  while (at != end) {
    size_t left = static_cast<size_t>(end - at);
    if (left < sizeof(Sizes)) return invalid_argument("metadata: the block ends inside a field");
    Sizes sizes = Iterator(at).sizes();
    left -= sizeof sizes;
    if (sizes.name > left || sizes.value > left - sizes.name)
      return invalid_argument("metadata: the block ends inside a field");
    Field field = *Iterator(at);
    std::string name(field.name);
    if (!is_name(name)) return invalid_argument("metadata: \"" + name + "\" is no name: lower case letters, digits, _ . - only");
    if (name.starts_with("grpc-") && name != "grpc-retry-pushback-ms")
      return invalid_argument("metadata: \"" + name + "\": names with grpc- are gRPC's own");
    if (name == "nebula-retries-left") return invalid_argument("metadata: \"" + name + "\" is the engine's own");
    if (!is_binary(name) && !is_printable(field.value))
      return invalid_argument("metadata: the value of \"" + name + "\" is not printable ASCII; use a name that ends in -bin");
    metadata.add(field.name, field.value);
    at += sizeof sizes + sizes.name + sizes.value;
  }
  return metadata;
}

void Metadata::add(std::string_view name, std::string_view value) {
  Sizes sizes = {static_cast<uint32_t>(name.size()), static_cast<uint32_t>(value.size())};
  size_t size = sizeof sizes + name.size() + value.size();
  if (block_ == nullptr || block_->capacity() - block_->size() < size || block_->is_shared()) grow(size);
  char* at = block_->data() + block_->size();
  block_->set_size(block_->size() + size);
  std::memcpy(at, &sizes, sizeof sizes);
  if (!name.empty()) std::memcpy(at + sizeof sizes, name.data(), name.size());
  if (!value.empty()) std::memcpy(at + sizeof sizes + name.size(), value.data(), value.size());
  count_++;
}

void Metadata::grow(size_t size) {
  size_t have = block().size();
  Block* larger = Block::make(std::max({first_room, 2 * have, have + size}));
  NEBULA_ASSERT(larger != nullptr);
  if (block_ != nullptr) {
    std::memcpy(larger->data(), block_->data(), have);
    larger->set_size(have);
    block_->unref();
  }
  block_ = larger;
}

std::optional<std::string_view> Metadata::find(std::string_view name) const {
  for (Field field : *this)
    if (field.name == name) return field.value;
  return std::nullopt;
}

bool is_binary(std::string_view name) { return name.ends_with("-bin"); }

}  // namespace nebula
