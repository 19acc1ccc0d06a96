// loop/event_fd.h - a descriptor that any thread can make readable.
#pragma once

#include "base/result.h"
#include "loop/fork.h"

namespace nebula {

class EventFd {
 public:
  static Result<EventFd> make();

  void signal();  // readable from now on
  void clear();   // and no longer
  int get() const { return fd_.get(); }

 private:
  explicit EventFd(int fd) : fd_(fd) {}

  Fd fd_;
};

}  // namespace nebula
