// unit/service/breaker/breaker_test.cc - when a node has failed too often, and how it comes back; by arithmetic.
#include "service/breaker/breaker.h"

#include <criterion/criterion.h>

#include "kit/world.h"
#include "service/breaker/isolation.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::unique_ptr<Breaker> opened(const Driver<Breaker>& driver, const char* text) {
  SimWorld world;
  Result<std::unique_ptr<Breaker>> breaker = driver.open(url(text), world.network.env());
  cr_assert(breaker.ok());
  return std::move(*breaker);
}

std::string error_of(const Driver<Breaker>& driver, const char* text) {
  SimWorld world;
  return driver.open(url(text), world.network.env()).status().text();
}

Time at(Duration since) { return Time{sec(1000).ns} + since; }

bool record(Breaker& breaker, bool failed, Time now) { return breaker.record(failed, {}, now); }

// How many calls that fail after such a time it takes, with so many good calls of 10 ms after each.
int failures_until_open(Breaker& breaker, Duration took, int good = 0) {
  for (int failures = 1; failures <= 1'000; failures++) {
    if (breaker.record(true, took, at({}))) return failures;
    for (int call = 0; call < good; call++) cr_assert(!breaker.record(false, ms(10), at({})));
  }
  return 0;
}

}  // namespace

Test(ratio, opens_within_twenty_calls_of_which_every_other_fails) {
  std::unique_ptr<Breaker> breaker = opened(ratio_driver(), "ratio:");
  int calls = 1;
  while (!record(*breaker, calls % 2 == 0, at(ms(calls)))) cr_assert_leq(++calls, 20);
}

Test(ratio, opens_within_a_second_when_half_of_the_calls_fail_by_chance) {
  Random random(kit::seed(21));
  for (int run = 0; run < 1'000; run++) {
    std::unique_ptr<Breaker> breaker = opened(ratio_driver(), "ratio:");
    int64_t calls = 1;  // a hundred a second
    while (!record(*breaker, random.chance(1, 2), at(ms(10 * calls)))) cr_assert_leq(++calls, 100);
  }
}

Test(ratio, opens_within_twenty_calls_or_a_second_after_a_long_good_time) {
  for (int64_t calls_a_second : {2, 5, 15, 50, 200, 1'000, 10'000}) {
    for (Duration good : {sec(30), sec(30) + ms(300), sec(30) + ms(700), sec(30) + ms(990)}) {
      std::unique_ptr<Breaker> breaker = opened(ratio_driver(), "ratio:");
      Duration pause = nanos(sec(1).ns / calls_a_second), now;
      for (; now < good; now = now + pause) cr_assert(!record(*breaker, false, at(now)));
      Duration began = now;
      for (int calls = 1; !record(*breaker, true, at(now)); calls++, now = now + pause)
        cr_assert(calls < 20 || now - began <= sec(1), "%d calls, %ld ms at %ld a second", calls, (now - began).ms(),
                  calls_a_second);
    }
  }
}

Test(ratio, stays_closed_when_a_busy_node_fails_for_a_moment) {
  std::unique_ptr<Breaker> breaker = opened(ratio_driver(), "ratio:");
  for (int call = 0; call < 100'000; call++)  // 10,000 a second, of which those of 20 ms fail
    cr_assert(!record(*breaker, call >= 55'000 && call < 55'200, at(us(100) * call)));
}

Test(ratio, stays_closed_when_a_fifth_of_the_calls_fail_by_chance) {
  Random random(kit::seed(22));
  std::unique_ptr<Breaker> breaker = opened(ratio_driver(), "ratio:");
  for (int call = 0; call < 1'000'000; call++) cr_assert(!record(*breaker, random.chance(1, 5), at(ms(10) * call)));
}

Test(ratio, stays_closed_with_few_failures_or_few_calls) {
  std::unique_ptr<Breaker> breaker = opened(ratio_driver(), "ratio:");
  for (int call = 0; call < 9; call++) cr_assert(!record(*breaker, true, at(ms(call))), "chance decides");
  breaker->forget();
  for (int call = 0; call < 10'000; call++) cr_assert(!record(*breaker, call % 4 == 3, at(ms(call))));
}

Test(ratio, forgets_what_is_older_than_its_window) {
  std::unique_ptr<Breaker> breaker = opened(ratio_driver(), "ratio:?window=10s");
  for (int call = 0; call < 9; call++) record(*breaker, true, at(ms(call)));
  for (int call = 0; call < 9; call++) cr_assert(!record(*breaker, true, at(sec(12) + ms(call))));
  cr_assert(record(*breaker, true, at(sec(13))));
  // Long after, and at once.
  breaker->forget();
  cr_assert(!record(*breaker, true, at(sec(100'000))));
}

Test(streak, opens_after_so_many_failures_in_a_row) {
  std::unique_ptr<Breaker> breaker = opened(streak_driver(), "streak:?failures=3");
  for (int round = 0; round < 10; round++) {
    cr_assert(!record(*breaker, true, at({})) && !record(*breaker, true, at({})));
    cr_assert(!record(*breaker, false, at({})));
  }
  record(*breaker, true, at({}));
  record(*breaker, true, at({}));
  cr_assert(record(*breaker, true, at({})));
  breaker->forget();
  cr_assert(!record(*breaker, true, at({})));
}

Test(cost, opens_the_sooner_the_longer_its_failures_took) {
  std::unique_ptr<Breaker> breaker = opened(cost_driver(), "cost:?open=0.4&calls=30&most=2");
  for (int call = 0; call < 1'000; call++) cr_assert(!breaker->record(false, ms(10), at({})));
  struct { Duration took; int failures; } rows[] = {
    {sec(30), 6}, {ms(20), 6}, {ms(15), 8}, {ms(10), 12}, {ms(5), 24}, {us(10), 96}, {{}, 12}};
  for (const auto& row : rows) {
    breaker->forget();
    cr_assert_eq(failures_until_open(*breaker, row.took), row.failures, "of %ld us", row.took.us());
  }
}

Test(cost, stays_closed_when_a_third_of_the_calls_are_refused_at_once_and_opens_when_they_hang) {
  std::unique_ptr<Breaker> breaker = opened(cost_driver(), "cost:");
  cr_assert_eq(failures_until_open(*breaker, us(100), 2), 0);
  cr_assert_leq(failures_until_open(*breaker, sec(1), 2), 20);
  // As many as cost no more than the good ones take off: with 2 calls for each, one in ten.
  breaker->forget();
  cr_assert_eq(failures_until_open(*breaker, sec(1), 9), 0);
}

Test(cost, opens_on_a_node_that_has_never_answered) {
  std::unique_ptr<Breaker> breaker = opened(cost_driver(), "cost:");
  cr_assert_eq(failures_until_open(*breaker, us(1)), 12);
}

Test(breakers, refuse_options_that_are_none) {
  cr_assert_eq(error_of(ratio_driver(), "ratio:?open=2"),
               "INVALID_ARGUMENT: \"ratio:?open=2\": open is a number from 0.01 to 1");
  cr_assert_eq(error_of(ratio_driver(), "ratio:?windo=1s"),
               "INVALID_ARGUMENT: \"ratio:?windo=1s\": there is no option \"windo\"; there are: open, calls, window");
  cr_assert_eq(error_of(streak_driver(), "streak:?failures=1.5"),
               "INVALID_ARGUMENT: \"streak:?failures=1.5\": failures is a whole number");
  cr_assert_eq(error_of(cost_driver(), "cost:?most=0"),
               "INVALID_ARGUMENT: \"cost:?most=0\": most is a number from 1 to 1000000");
}

Test(breakers, hold_against_a_node_only_what_it_has_done) {
  cr_assert(verdict_of(Code::ok, Fate::processed) == Verdict::good);
  cr_assert(verdict_of(Code::not_found, Fate::processed) == Verdict::good);
  cr_assert(verdict_of(Code::internal, Fate::processed) == Verdict::bad);
  cr_assert(verdict_of(Code::unavailable, Fate::unknown) == Verdict::bad);
  cr_assert(verdict_of(Code::unavailable, Fate::unprocessed) == Verdict::none);
  cr_assert(verdict_of(Code::deadline_exceeded, Fate::unsent) == Verdict::none);
  cr_assert(verdict_of(Code::cancelled, Fate::unknown) == Verdict::none);
}

Test(isolation, grows_with_each_relapse_and_begins_anew_after_a_good_time) {
  Isolation isolation;
  Random random(kit::seed(22));
  Time now = at({});
  Duration expected = sec(1);
  for (int relapse = 0; relapse < 10; relapse++) {
    Duration length = isolation.open(now, random, sec(1), sec(60));
    cr_assert(length >= expected && length <= expected * 2, "relapse %d: %ld ms", relapse, static_cast<long>(length.ms()));
    cr_assert(!isolation.admits());
    now = now + length;
    isolation.try_again();
    expected = std::min(expected * 2, sec(60));
  }
  isolation.close(now);
  now = now + sec(300);
  cr_assert_leq(isolation.open(now, random, sec(1), sec(60)).ns, ms(1200).ns);
}

Test(isolation, lets_one_probe_through_at_a_time_and_closes_after_three_good_ones) {
  Isolation isolation;
  Random random(1);
  isolation.open(at({}), random, sec(1), sec(60));
  isolation.try_again();
  for (uint32_t probe = 0; probe < limits::probes_good; probe++) {
    cr_assert(isolation.state() == Isolation::State::half_open && isolation.admits());
    isolation.on_probe();
    cr_assert(!isolation.admits());
    isolation.on_probe_ended(Verdict::none, at(sec(2)));  // says nothing
    cr_assert(isolation.admits());
    isolation.on_probe();
    isolation.on_probe_ended(Verdict::good, at(sec(2)));
  }
  cr_assert(isolation.state() == Isolation::State::closed && isolation.admits());
}
