// http2/block_memo.h - remembers what a few blocks came to, for calls on a connection are much alike.
//
// Blocks are made of whole fields, one after the other, so what is known of one holds for the beginning of a longer
// one. It holds while the table of the HPACK coder stays as it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nebula {

template <class Value>
class BlockMemo {
 public:
  struct Entry {
    std::string block;
    Value value;
  };

  // One with which `text` begins; null: there is none. Valid until the next keep() or forget().
  const Entry* find(std::string_view text) const {
    for (size_t i = 0; i < count_; i++)
      if (text.starts_with(entries_[i].block)) return &entries_[i];
    return nullptr;
  }

  // To be filled in; null: it is not worth it.
  Value* keep(std::string_view block) {
    if (block.empty() || block.size() > block_bytes_max) return nullptr;
    if (count_ == entries_.size() && count_ < entries_max) entries_.emplace_back();
    if (count_ < entries_.size()) next_ = count_++ - 1;
    next_ = next_ + 1 < count_ ? next_ + 1 : 0;
    entries_[next_].block = block;
    return &entries_[next_].value;
  }

  void forget() { count_ = 0; }

 private:
  static constexpr size_t entries_max = 4, block_bytes_max = 1024;

  std::vector<Entry> entries_;  // which keep their memory
  size_t count_ = 0;            // of them that hold
  size_t next_ = 0;             // the last one that was kept
};

}  // namespace nebula
