// unit/loop/mailbox_test.cc - many writers, one reader.
#include "loop/mailbox.h"

#include <criterion/criterion.h>
#include <poll.h>

#include <thread>

using namespace nebula;

namespace {

std::unique_ptr<Mailbox> made() { return std::move(*Mailbox::make()); }

bool readable(const Mailbox& mailbox) {
  pollfd ready{mailbox.fd(), POLLIN, 0};
  return ::poll(&ready, 1, 0) == 1;
}

int run_all(Mailbox& mailbox) {
  std::vector<Fn<void()>> items;
  mailbox.take(items);
  for (Fn<void()>& item : items) item();
  return static_cast<int>(items.size());
}

}  // namespace

Test(mailbox, hands_over_in_order) {
  std::unique_ptr<Mailbox> mailbox = made();
  std::vector<int> order;
  for (int i = 0; i < 5; i++) mailbox->push([&order, i] { order.push_back(i); });
  mailbox->enter();
  cr_assert_eq(run_all(*mailbox), 5);
  cr_assert_eq(run_all(*mailbox), 0);
  cr_assert(order == (std::vector<int>{0, 1, 2, 3, 4}));
}

Test(mailbox, wakes_a_sleeping_reader) {
  std::unique_ptr<Mailbox> mailbox = made();
  cr_assert(not readable(*mailbox));
  mailbox->push([] {});
  cr_assert(readable(*mailbox));
  cr_assert(mailbox->enter(), "it was raised");
  mailbox->clear();
  cr_assert(not readable(*mailbox));
}

Test(mailbox, makes_no_system_call_while_the_reader_runs) {
  std::unique_ptr<Mailbox> mailbox = made();
  cr_assert(not mailbox->enter());
  mailbox->push([] {});
  cr_assert(not readable(*mailbox));
  cr_assert(not mailbox->leave(), "the reader sees it when it leaves");
  cr_assert(mailbox->enter());
  run_all(*mailbox);
  cr_assert(mailbox->leave());
  mailbox->push([] {});
  cr_assert(readable(*mailbox));
}

Test(mailbox, may_be_left_readable) {
  std::unique_ptr<Mailbox> mailbox = made();
  mailbox->enter();
  mailbox->leave_raised();
  cr_assert(readable(*mailbox));
  cr_assert(mailbox->enter());
}

Test(mailbox, loses_nothing_to_a_reader_that_sleeps_without_end) {
  constexpr int writers = 3, posts = 20000;
  std::unique_ptr<Mailbox> mailbox = made();
  int next[writers] = {};
  std::vector<std::thread> threads;
  for (int writer = 0; writer < writers; writer++)
    threads.emplace_back([&, writer] {
      for (int i = 0; i < posts; i++)
        mailbox->push([&next, writer, i] {
          if (next[writer] == i) next[writer]++;
        });
    });
  int taken = 0;
  while (taken < writers * posts) {
    pollfd ready{mailbox->fd(), POLLIN, 0};
    ::poll(&ready, 1, -1);
    mailbox->clear();
    do {
      mailbox->enter();
      taken += run_all(*mailbox);
    } while (!mailbox->leave());
  }
  for (std::thread& thread : threads) thread.join();
  for (int count : next) cr_assert_eq(count, posts);
}
