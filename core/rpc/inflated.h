// rpc/inflated.h - Inflated: what comes out of an inflater, in memory that grows as it comes.
//
// A bomb is small and says whatever it likes of its size, so memory follows what has come out of it, to one byte beyond
// the limit: by that byte it is known to be over.
#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/status.h"

namespace nebula {

class Inflated {
 public:
  Inflated(size_t packed_size, size_t size_max);
  ~Inflated();
  Inflated(const Inflated&) = delete;
  Inflated& operator=(const Inflated&) = delete;

  // Where the next bytes go, room_size() of them: at least one, unless it is over. Then add() how many there are.
  char* room();
  size_t room_size() const { return block_->capacity() - block_->size(); }
  void add(size_t size) { block_->set_size(block_->size() + size); }

  bool is_over() const { return block_->size() > size_max_; }
  Bytes take();  // at last

  static Status too_large(size_t size_max);

 private:
  const size_t size_max_;
  Block* block_;
};

}  // namespace nebula
