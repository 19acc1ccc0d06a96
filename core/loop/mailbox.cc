// loop/mailbox.cc - an eventfd and a three-state word.
//
// Whoever turns the word from idle to raised writes the eventfd. All exchanges are sequentially consistent: an item
// is in the list before the word says so, and the reader that leaves either sees `raised` or is seen as idle.
#include "loop/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace nebula {

Result<std::unique_ptr<Mailbox>> Mailbox::make() {
  int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return system_error("loop: eventfd", errno);
  return std::unique_ptr<Mailbox>(new Mailbox(fd));
}

void Mailbox::push(Fn<void()> item) {
  {
    std::lock_guard<std::mutex> hold(lock_);
    items_.push_back(std::move(item));
  }
  raise();
}

void Mailbox::raise() {
  if (word_.exchange(raised) == idle) signal();
}

bool Mailbox::enter() { return word_.exchange(running) == raised; }

void Mailbox::take(std::vector<Fn<void()>>& into) {
  std::lock_guard<std::mutex> hold(lock_);
  into.swap(items_);
}

bool Mailbox::leave() {
  int expected = running;
  return word_.compare_exchange_strong(expected, idle);
}

void Mailbox::leave_raised() {
  word_.exchange(raised);
  signal();
}

void Mailbox::signal() {
  uint64_t one = 1;
  // Fails only when 2^64 - 2 signals were not read, and then the descriptor is readable anyway.
  [[maybe_unused]] ssize_t written = ::write(fd_.get(), &one, sizeof one);
}

void Mailbox::clear() {
  uint64_t count = 0;
  [[maybe_unused]] ssize_t got = ::read(fd_.get(), &count, sizeof count);
}

}  // namespace nebula
