// http2/body_queue.h - pieces of a body that wait to be sent. Most have one, which costs no memory of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "base/bytes.h"

namespace nebula {

class BodyQueue {
 public:
  struct Piece {
    Bytes bytes;
    uint32_t messages;  // in it
  };

  size_t bytes() const { return bytes_; }
  size_t pieces() const { return first_.bytes.empty() ? 0 : 1 + (more_ == nullptr ? 0 : more_->size()); }

  void push(Piece piece) {  // not empty
    bytes_ += piece.bytes.size();
    if (first_.bytes.empty()) {
      first_ = std::move(piece);
    } else {
      if (more_ == nullptr) more_ = std::make_unique<std::deque<Piece>>();
      more_->push_back(std::move(piece));
    }
  }

  // The next bytes, `size_max` at most, of one piece; not of an empty queue. Its messages are said to be in its first part.
  Piece pop(size_t size_max) {
    Bytes& bytes = first_.bytes;
    if (bytes.size() > size_max) {
      bytes_ -= size_max;
      Piece part{bytes.slice(0, size_max), std::exchange(first_.messages, 0)};
      bytes = bytes.slice(size_max, bytes.size() - size_max);
      return part;
    }
    bytes_ -= bytes.size();
    Piece whole = std::move(first_);  // which is empty now
    if (more_ != nullptr && !more_->empty()) {
      first_ = std::move(more_->front());
      more_->pop_front();
    }
    return whole;
  }

 private:
  Piece first_{};
  std::unique_ptr<std::deque<Piece>> more_;
  size_t bytes_ = 0;
};

}  // namespace nebula
