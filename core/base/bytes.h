// base/bytes.h - Block: counted memory; Bytes: an immutable slice of one.
//
// Copying a Bytes counts, never copies bytes. The count is the engine's one atomic outside the locked files
// (house.md 7), because a slice may be released by another thread than the one that made it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace nebula {

// Memory that is filled once, by its maker, and then only read. `size` bytes of `capacity` are the content;
// `headroom` bytes stand free in front of it, so that frame headers can be put there without a copy.
class Block {
 public:
  static constexpr size_t headroom = 16;

  static Block* make(size_t capacity);  // count 1; null when there is no memory
  Block* ref() {
    count_.fetch_add(1, std::memory_order_relaxed);
    return this;
  }
  void unref() {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  bool is_shared() const { return count_.load(std::memory_order_acquire) > 1; }

  char* data() { return reinterpret_cast<char*>(this + 1) + headroom; }
  size_t capacity() const { return capacity_; }
  size_t size() const { return size_; }
  void set_size(size_t size) { size_ = size; }  // at most capacity; the maker only, before sharing

 private:
  explicit Block(size_t capacity) : capacity_(capacity) {}
  void destroy();

  std::atomic<uint32_t> count_{1};
  size_t capacity_;
  size_t size_ = 0;
};

class Bytes {
 public:
  Bytes() = default;  // empty, of no block
  static Bytes copy(std::string_view text);
  static Bytes adopt(Block* block);  // takes over one count; the content is data()..size()

  Bytes(const Bytes& other) : block_(other.block_), data_(other.data_), size_(other.size_) {
    if (block_ != nullptr) block_->ref();
  }
  Bytes(Bytes&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Bytes() {
    if (block_ != nullptr) block_->unref();
  }

  const char* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data_, size_}; }
  Block* block() const { return block_; }

  // The same with `size` bytes of the headroom in front, for the caller to fill at data(). Only for the sole holder of
  // a whole block.
  Bytes with_headroom(size_t size, char** room) &&;

  // The part [from, from + size), which must lie inside; shares the block.
  Bytes slice(size_t from, size_t size) const;

 private:
  Block* block_ = nullptr;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace nebula
