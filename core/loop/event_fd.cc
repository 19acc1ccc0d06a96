// loop/event_fd.cc - eventfd(2).
#include "loop/event_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace nebula {

Result<EventFd> EventFd::make() {
  int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return system_error("loop: eventfd", errno);
  return EventFd(fd);
}

void EventFd::signal() {
  uint64_t one = 1;
  // Fails only when 2^64 - 2 signals were not read, and then the descriptor is readable anyway.
  [[maybe_unused]] ssize_t written = ::write(fd_.get(), &one, sizeof one);
}

void EventFd::clear() {
  uint64_t count = 0;
  [[maybe_unused]] ssize_t got = ::read(fd_.get(), &count, sizeof count);
}

}  // namespace nebula
