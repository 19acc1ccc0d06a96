// unit/loop/sim_loop_test.cc - virtual time, and runs that follow from a seed.
#include "loop/sim_loop.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

using namespace nebula;

namespace {

// A run with choices: timers at the same time, posts among them, and what each of these starts.
std::string story(uint64_t seed) {
  SimLoop loop(seed);
  std::string told;
  std::vector<std::unique_ptr<Timer>> timers;
  for (char name = 'a'; name < 'h'; name++)
    timers.push_back(loop.after(ms(1), [&told, &loop, name] {
      told += name;
      loop.post([&told, name] { told += static_cast<char>(name - 'a' + 'A'); });
    }));
  cr_assert(loop.run_until_idle(1000));
  return told;
}

}  // namespace

Test(sim_loop, jumps_from_timer_to_timer) {
  SimLoop loop(1);
  Time start = loop.now();
  std::vector<int64_t> at;
  std::unique_ptr<Timer> late = loop.after(sec(3600), [&] { at.push_back((loop.now() - start).ms()); });
  std::unique_ptr<Timer> early = loop.after(ms(5), [&] { at.push_back((loop.now() - start).ms()); });
  cr_assert_eq(loop.timer_count(), 2);
  cr_assert(loop.run_until_idle(10));
  cr_assert(at == (std::vector<int64_t>{5, 3600000}));
  cr_assert_eq(loop.timer_count(), 0);
}

Test(sim_loop, runs_up_to_a_time_and_is_there) {
  SimLoop loop(1);
  Time start = loop.now();
  int ran = 0;
  std::unique_ptr<Timer> in_time = loop.after(ms(10), [&] { ran++; });
  std::unique_ptr<Timer> too_late = loop.after(ms(11), [&] { ran++; });
  loop.run_for(ms(10));
  cr_assert_eq(ran, 1);
  cr_assert_eq((loop.now() - start).ns, ms(10).ns);
}

Test(sim_loop, keeps_the_order_of_posts_and_of_what_was_put_off) {
  for (uint64_t seed = 0; seed < 20; seed++) {
    SimLoop loop(seed);
    std::string order;
    loop.post([&] {
      loop.later([&] {
        order += "2";
        loop.later([&] { order += "4"; });
      });
      loop.later([&] { order += "3"; });
      order += "1";
    });
    loop.post([&] { order += "5"; });
    cr_assert(loop.run_until_idle(10));
    cr_assert_eq(order, "12345");
  }
}

Test(sim_loop, tells_the_same_story_for_the_same_seed) {
  cr_assert_eq(story(7), story(7));
  bool differs = false;
  for (uint64_t seed = 0; seed < 10; seed++) differs = differs || story(seed) != story(7);
  cr_assert(differs, "and others for others");
}

Test(sim_loop, lets_a_timer_be_cancelled_also_inside_its_own_function) {
  for (uint64_t seed = 0; seed < 20; seed++) {
    SimLoop loop(seed);
    int ran = 0;
    std::unique_ptr<Timer> one, other;
    one = loop.after(ms(1), [&] {
      ran++;
      one.reset();
      other.reset();
    });
    other = loop.after(ms(1), [&] {
      ran++;
      one.reset();
      other.reset();
    });
    cr_assert(loop.run_until_idle(10));
    cr_assert_eq(ran, 1);
  }
}

Test(sim_loop, runs_what_was_put_off_between_turns) {
  SimLoop loop(1);
  bool ran = false;
  loop.later([&] { ran = true; });
  cr_assert_eq(loop.post_count(), 1);
  cr_assert(loop.run_one());
  cr_assert(ran);
  cr_assert(not loop.run_one());
}

Test(sim_loop, says_when_it_is_not_idle_in_time) {
  SimLoop loop(1);
  std::unique_ptr<Timer> timer;
  Fn<void()> again = [&] { timer = loop.after(ms(1), [&] { again(); }); };
  again();
  cr_assert(not loop.run_until_idle(100));
}

Test(sim_loop, stays_in_order_with_many_timers) {
  SimLoop loop(3);
  Random random(4);
  std::vector<std::unique_ptr<Timer>> timers(10000);
  Time last = loop.now();
  int ran = 0;
  for (std::unique_ptr<Timer>& timer : timers)
    timer = loop.after(us(random.between(0, 1000000)), [&] {
      cr_assert_geq(loop.now().ns, last.ns);
      last = loop.now();
      ran++;
    });
  for (size_t i = 0; i < timers.size(); i += 3) timers[i].reset();
  cr_assert(loop.run_until_idle(20000));
  cr_assert_eq(ran, 6666);
}
