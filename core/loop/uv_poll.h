// loop/uv_poll.h - readiness of one descriptor on a UvLoop, for reading and for writing.
//
// Level-triggered: `ready` is called again in each turn as long as what is wanted is there. Hang-ups and errors of the
// descriptor count as all that is wanted, so that the owner's next system call finds them. May be destroyed inside
// `ready`. The descriptor stays its owner's and must be closed after the UvPoll, not before.
#pragma once

#include <memory>

#include "base/result.h"
#include "loop/loop.h"

namespace nebula {

class UvPoll final : public FdWatch {
 public:
  using Ready = Fn<void(bool readable, bool writable)>;

  // Fails for a descriptor that epoll refuses, as a plain file. Wants nothing yet.
  static Result<std::unique_ptr<UvPoll>> make(UvLoop& loop, int fd, Ready ready);
  ~UvPoll() override;

  void want(bool readable, bool writable);  // a change costs two system calls, no change none

 private:
  struct Handle;
  explicit UvPoll(Handle* handle) : handle_(handle) {}

  Handle* handle_;  // outlives this until libuv has let go of it
};

}  // namespace nebula
