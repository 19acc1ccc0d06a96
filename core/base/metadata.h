// base/metadata.h - an ordered list of names and values.
//
// Kept as the one flat block that the C ABI hands out: { u32 name size, u32 value size, name, value } again and
// again, sizes in the machine's byte order. So crossing the border costs nothing, and most fields are never looked
// at. A copy shares the block until one of the two is added to. Names are lower case; the values of names that end in
// "-bin" are raw bytes here and base64 on the wire only.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace nebula {

struct Field {
  std::string_view name, value;
};

class Metadata {
 public:
  class Iterator {
   public:
    explicit Iterator(const char* at) : at_(at) {}
    Field operator*() const {
      Sizes sizes = this->sizes();
      const char* name = at_ + sizeof sizes;
      return {{name, sizes.name}, {name + sizes.name, sizes.value}};
    }
    Iterator& operator++() {
      Sizes sizes = this->sizes();
      at_ += sizeof sizes + sizes.name + sizes.value;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    friend Metadata;
    struct Sizes {
      uint32_t name, value;
    };
    Sizes sizes() const {
      Sizes sizes;
      std::memcpy(&sizes, at_, sizeof sizes);
      return sizes;
    }

    const char* at_;
  };

  // Takes a block from outside. `invalid_argument` if its sizes do not add up, a name is not one that gRPC allows
  // (PROTOCOL-HTTP2: [0-9a-z_.-]+, not "grpc-..." but of retries) or the engine's own, or a value not of a "-bin" name is
  // not printable ASCII.
  static Result<Metadata> from_user(const void* block, size_t size);

  Metadata() = default;
  Metadata(const Metadata& other)
      : block_(other.block_ == nullptr ? nullptr : other.block_->ref()), count_(other.count_) {}
  Metadata(Metadata&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Metadata& operator=(Metadata other) noexcept {
    std::swap(block_, other.block_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~Metadata() {
    if (block_ != nullptr) block_->unref();
  }

  void add(std::string_view name, std::string_view value);
  std::optional<std::string_view> find(std::string_view name) const;  // the first of that name

  Iterator begin() const { return Iterator(block().data()); }
  Iterator end() const { return Iterator(block().data() + block().size()); }
  bool empty() const { return count_ == 0; }
  size_t count() const { return count_; }

  // What HTTP/2 counts against a header list: names, values and 32 a field (RFC 9113, 6.5.2).
  size_t list_size() const { return block().size() - 8 * count_ + 32 * count_; }

  std::string_view block() const {
    return block_ == nullptr ? std::string_view() : std::string_view(block_->data(), block_->size());
  }

 private:
  using Sizes = Iterator::Sizes;
  void grow(size_t size);  // to have room for so much more, in a block of its own

  Block* block_ = nullptr;  // null: empty
  size_t count_ = 0;
};

bool is_binary(std::string_view name);  // ends in "-bin"

}  // namespace nebula
