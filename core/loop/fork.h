// loop/fork.h - descriptors that a fork child must not keep.
//
// A child that inherits a listening socket, a connection or a held lock keeps a corpse alive: its peers never see the
// end, and its name stays listed. So each such descriptor is registered here, and the child closes it before anything
// of its own runs. It closes the raw number only: to unlock, or to take it out of epoll, would undo it in the parent.
// Process-wide, since fork is; safe from any thread.
#pragma once

#include <cstdint>
#include <utility>

namespace nebula {

void close_in_child(int fd);
void keep_in_child(int fd);  // before the descriptor is closed or given away; a stranger may get its number next

// Grows in each child. What remembers an older one belongs to an ancestor and must be left alone.
uint64_t fork_generation();

// A descriptor with one owner, closed at the end and in a fork child. The child's copy of the object closes nothing:
// the number may be a stranger's by then.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd), generation_(fork_generation()) {
    if (fd_ >= 0) close_in_child(fd_);
  }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)), generation_(other.generation_) {}
  Fd& operator=(Fd&& other) noexcept {
    reset();
    fd_ = std::exchange(other.fd_, -1);
    generation_ = other.generation_;
    return *this;
  }
  ~Fd() { reset(); }

  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }
  void reset();

 private:
  int fd_ = -1;
  uint64_t generation_ = 0;
};

}  // namespace nebula
