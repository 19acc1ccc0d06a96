// unit/rpc/inbox_test.cc - chunks in, messages out, and the peer's credit to the byte.
#include "rpc/inbox.h"

#include <criterion/criterion.h>

#include <string>

#include "kit/memory.h"
#include "kit/messages.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string framed(std::string_view message, Encoding encoding = Encoding::identity) {
  return std::string(frame_message(Bytes::copy(message), encoding).view());
}

// The call of an inbox, and the inbox itself in a reader that waits to be allowed.
struct Desk final : public InboxEvents {
  explicit Desk(size_t message_bytes_max = 1000, size_t allowed = 0, Encoding encoding = Encoding::identity) {
    std::unique_ptr<Inbox> made = std::make_unique<Inbox>(*this, message_bytes_max, encoding);
    inbox = made.get();
    reader.allowed = allowed;
    reader.start(std::move(made));
  }

  void on_taken(size_t wire_bytes) override { credit += wire_bytes; }
  void on_dropped(size_t wire_bytes) override {
    drops++;
    credit += wire_bytes;
  }

  void on_broken(Status why) override { broken.push_back(why.text()); }

  Status feed(std::string_view chunk) {
    fed += chunk.size();
    return inbox->feed(Bytes::copy(chunk));
  }

  Inbox* inbox;
  Reader reader;
  size_t fed = 0;
  size_t credit = 0;
  int drops = 0;
  std::vector<std::string> broken;
};

}  // namespace

Test(inbox, gives_messages_in_order_and_their_credit_as_they_are_taken) {
  Desk desk;
  cr_assert(desk.feed(framed("one") + framed("") + framed("three")).ok());
  cr_assert_eq(desk.credit, 0, "nobody has read anything");
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, framed("one").size());
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, framed("one").size() + framed("").size());
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, desk.fed);
  cr_assert(desk.reader.messages == std::vector<std::string>({"one", "", "three"}));
}

Test(inbox, gives_what_came_together_as_a_run_to_whom_asks_for_it) {
  Desk desk;
  std::string together = framed("one") + framed("") + framed("three"), four = framed("four");
  cr_assert(desk.feed(together + four.substr(0, 6)).ok());
  cr_assert(desk.feed(four.substr(6)).ok());
  Run run;
  cr_assert(desk.inbox->next_run(&run) == Source::Next::message);
  cr_assert(run.count == 3 && run.bytes.view() == together);
  cr_assert_eq(desk.credit, together.size());
  cr_assert(desk.inbox->next_run(&run) == Source::Next::message);
  cr_assert(run.count == 1 && run.bytes.view() == "four");
  cr_assert_eq(desk.credit, desk.fed);
  cr_assert(desk.inbox->next_run(&run) == Source::Next::later);
  cr_assert(desk.feed(framed("five") + framed("six")).ok());
  desk.reader.allow(2);
  cr_assert(desk.reader.messages == std::vector<std::string>({"five", "six"}));
  cr_assert_eq(desk.credit, desk.fed);
}

Test(inbox, gives_no_run_of_compressed_messages) {
  Desk desk(1000, 0, Encoding::gzip);
  std::string packed = framed(std::string(500, 'a'), Encoding::gzip);
  cr_assert(desk.feed(packed + packed + framed("plain") + framed("too")).ok());
  Run run;
  for (int i = 0; i < 2; i++) {
    cr_assert(desk.inbox->next_run(&run) == Source::Next::message);
    cr_assert(run.count == 1 && run.bytes.view() == std::string(500, 'a'));
  }
  cr_assert(desk.inbox->next_run(&run) == Source::Next::message);
  cr_assert_eq(run.count, 2);
}

Test(inbox, wakes_a_reader_that_waits) {
  Desk desk(1000, 10);
  cr_assert(desk.feed(framed("one")).ok());
  cr_assert(desk.feed(framed("two")).ok());
  cr_assert_eq(desk.reader.messages.size(), 2);
  desk.inbox->finish({Status(Code::aborted, "no")});
  cr_assert(desk.reader.end() == "ABORTED: no");
  cr_assert_eq(desk.drops, 0);
}

Test(inbox, lets_a_message_be_larger_than_the_window) {
  Desk desk(100'000);
  std::string large = framed(std::string(60'000, 'm'));
  cr_assert(desk.feed(large.substr(0, 30'000)).ok());
  cr_assert_eq(desk.credit, 30'000, "it can only be read when it is whole");
  cr_assert(desk.feed(large.substr(30'000)).ok());
  cr_assert_eq(desk.credit, 30'000, "now it waits to be read");
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, desk.fed);
}

Test(inbox, gives_credit_for_the_beginning_of_a_message_when_all_before_it_is_taken) {
  Desk desk;
  std::string next = framed(std::string(500, 'n'));
  cr_assert(desk.feed(framed("one") + framed("two") + next.substr(0, 100)).ok());
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, framed("one").size());
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, desk.fed);
  cr_assert(desk.inbox->is_inside());
}

Test(inbox, returns_all_credit_when_it_is_dropped) {
  Desk desk;
  cr_assert(desk.feed(framed("one") + framed("two") + framed("three").substr(0, 6)).ok());
  desk.reader.allow(1);
  desk.reader.drop();
  cr_assert_eq(desk.drops, 1);
  cr_assert_eq(desk.credit, desk.fed);
}

Test(inbox, gives_what_has_arrived_before_the_ending) {
  Desk desk;
  cr_assert(desk.feed(framed("one") + framed("two")).ok());
  size_t credit = desk.credit;
  desk.inbox->finish({Status(Code::not_found, "gone")});
  desk.reader.allow(1);
  cr_assert(desk.reader.end() == "open");
  desk.reader.allow(2);
  cr_assert_eq(desk.reader.messages.size(), 2);
  cr_assert(desk.reader.end() == "NOT_FOUND: gone");
  cr_assert_eq(desk.credit, credit, "the stream is over");
  cr_assert_eq(desk.drops, 0);
}

Test(inbox, ends_at_once_when_it_is_cut) {
  Desk desk;
  cr_assert(desk.feed(framed("one") + framed("two")).ok());
  desk.reader.allow(1);
  desk.inbox->cut({cancelled("enough")});
  desk.reader.allow(9);
  cr_assert_eq(desk.reader.messages.size(), 1);
  cr_assert(desk.reader.end() == "CANCELLED: enough");
}

Test(inbox, may_be_dropped_in_the_midst_of_being_fed) {
  Desk desk(1000, 10);
  desk.reader.then_message = [&] { desk.reader.drop(); };
  cr_assert(desk.feed(framed("one") + framed("two")).ok());
  cr_assert_eq(desk.reader.messages.size(), 1);
  cr_assert_eq(desk.drops, 1);
  cr_assert_eq(desk.credit, desk.fed);
}

Test(inbox, refuses_a_message_over_the_limit_and_a_compressed_one) {
  Desk desk(10);
  cr_assert(desk.feed(framed("0123456789")).ok());
  cr_assert_eq(desk.feed(framed("0123456789a").substr(0, 5)).code(), Code::resource_exhausted);
  Desk flagged;
  cr_assert_eq(flagged.feed(std::string("\1\0\0\0\2xx", 7)).code(), Code::internal);
}

// ---- many small messages

Test(inbox, keeps_many_small_messages_in_about_their_own_size) {
  for (size_t size : {0, 1, 20, 100, 127}) {
    for (bool is_compressed : {false, true}) {
      Desk desk(1000, 0, Encoding::gzip);
      std::string one = framed(std::string(size, 'a'));
      one[0] = is_compressed;
      size_t before = allocated_bytes();
      // Each in a DATA frame of its own.
      while (desk.fed < limits::stream_window_bytes / 4) cr_assert(desk.feed(one).ok());
      size_t cost = allocated_bytes() - before;
      cr_assert_leq(cost, desk.fed + desk.fed / 2, "%zu bytes for messages of %zu", cost, size);
      cr_assert_eq(desk.credit, 0);
      if (is_compressed) continue;  // that is no gzip
      desk.reader.allow(SIZE_MAX / 2);
      cr_assert_eq(desk.reader.messages.size(), desk.fed / one.size());
      cr_assert_eq(desk.credit, desk.fed);
    }
  }
}

Test(inbox, keeps_the_order_of_messages_that_wait_small_or_large_compressed_or_not) {
  Desk desk(1000, 0, Encoding::gzip);
  std::vector<std::string> sent;
  for (size_t i = 0; i < 5000; i++) {
    sent.push_back(std::to_string(i) + std::string(i % 7 == 0 ? 300 : i * 13 % 200, 'x'));
    if (i % 11 == 0) sent.back().clear();
    cr_assert(desk.feed(framed(sent.back(), i % 5 == 0 ? Encoding::gzip : Encoding::identity)).ok());
    if (i % 3 == 0) desk.reader.allow(1);
  }
  desk.reader.allow(5000);
  cr_assert(desk.reader.messages == sent);
  cr_assert_eq(desk.credit, desk.fed);
}

// ---- compressed messages

Test(inbox, inflates_a_message_when_it_is_taken_and_gives_credit_for_what_was_sent) {
  Desk desk(1000, 0, Encoding::gzip);
  std::string large(1000, 'm');
  std::string first = framed(large, Encoding::gzip), second = framed("plain");
  cr_assert_lt(first.size(), 100);
  cr_assert(desk.feed(first + second + framed(large, Encoding::gzip)).ok());
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, first.size());
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, first.size() + second.size());
  desk.reader.allow(1);
  cr_assert_eq(desk.credit, desk.fed);
  cr_assert(desk.reader.messages == std::vector<std::string>({large, "plain", large}));
}

Test(inbox, holds_what_waits_as_small_as_it_came) {
  std::string bomb = framed(std::string(1 << 20, 0), Encoding::zstd);
  Desk desk(1 << 20, 0, Encoding::zstd);
  size_t before = allocated_bytes();
  for (int i = 0; i < 100; i++) cr_assert(desk.feed(bomb).ok());
  cr_assert_lt(allocated_bytes() - before, 1u << 20, "a hundred messages of 1 MiB wait in %zu bytes",
               allocated_bytes() - before);
}

Test(inbox, tells_its_call_of_a_message_that_cannot_be_inflated_and_gives_nothing_after_it) {
  for (bool has_all : {false, true}) {
    Desk desk(1000, 10, Encoding::gzip);
    std::string broken = framed(std::string(500, 'm'), Encoding::gzip);
    broken[20] ^= 1;
    desk.reader.allowed = 0;
    cr_assert(desk.feed(framed("one") + broken + framed("three")).ok());
    if (has_all) desk.inbox->end();
    desk.reader.allow(10);
    cr_assert(desk.reader.messages == std::vector<std::string>({"one"}));
    cr_assert_eq(desk.broken.size(), 1);
    cr_assert(desk.broken[0].starts_with("INTERNAL: a message is not valid gzip"));
    cr_assert(desk.reader.is_open(), "the end comes from the call");
    cr_assert(desk.feed(framed("four")).ok());
    desk.inbox->cut({Status(Code::cancelled, "later reasons do not count")});
    cr_assert(desk.reader.end() == desk.broken[0]);
    cr_assert(desk.reader.messages == std::vector<std::string>({"one"}));
  }
}

Test(inbox, ends_with_the_reason_where_the_call_was_over_before_a_message_was_found_broken) {
  Desk desk(1000, 0, Encoding::gzip);
  cr_assert(desk.feed(framed(std::string(1001, 'm'), Encoding::gzip)).ok());
  desk.inbox->finish({});
  desk.reader.allow(10);
  cr_assert(desk.reader.end() == "RESOURCE_EXHAUSTED: a compressed message is larger than the limit of 1000 bytes");
  cr_assert(desk.broken.empty());
}

Test(inbox, gives_the_rest_when_all_has_come_and_the_call_is_over_early) {
  Desk desk;
  cr_assert(desk.feed(framed("one") + framed("two")).ok());
  desk.inbox->end();
  desk.reader.allow(1);
  desk.inbox->cut({Status(Code::cancelled, "the call is over")});
  desk.reader.allow(10);
  cr_assert(desk.reader.messages == std::vector<std::string>({"one", "two"}));
  cr_assert(desk.reader.end() == "OK");
}
