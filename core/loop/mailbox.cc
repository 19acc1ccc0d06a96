// loop/mailbox.cc - an eventfd and a three-state word.
//
// Whoever turns the word from idle to raised writes the eventfd. All exchanges are sequentially consistent: an item
// is in the list before the word says so, and the reader that leaves either sees `raised` or is seen as idle.
#include "loop/mailbox.h"

namespace nebula {

Result<std::unique_ptr<Mailbox>> Mailbox::make() {
  TRY(EventFd fd, EventFd::make());
  return std::unique_ptr<Mailbox>(new Mailbox(std::move(fd)));
}

void Mailbox::push(Fn<void()> item) {
  {
    std::lock_guard<std::mutex> hold(lock_);
    items_.push_back(std::move(item));
  }
  raise();
}

void Mailbox::raise() {
  if (word_.exchange(raised) == idle) fd_.signal();
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
  fd_.signal();
}

}  // namespace nebula
