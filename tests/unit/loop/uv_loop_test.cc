// unit/loop/uv_loop_test.cc - turns, timers and the contract of the descriptor.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <thread>

#include "kit/world.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

constexpr Duration forever = nanos(-1);

bool readable(UvLoop& loop) {
  pollfd ready{loop.fd(), POLLIN, 0};
  return ::poll(&ready, 1, 0) == 1;
}

// As a host does that has nothing else to do.
bool becomes_readable(UvLoop& loop) {
  pollfd ready{loop.fd(), POLLIN, 0};
  return ::poll(&ready, 1, 10000) == 1;
}

struct PipeEnds {
  PipeEnds() { cr_assert_eq(::pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0); }
  ~PipeEnds() {
    ::close(fds[0]);
    ::close(fds[1]);
  }
  void put() { cr_assert_eq(::write(fds[1], "x", 1), 1); }
  void take() {
    char byte;
    cr_assert_eq(::read(fds[0], &byte, 1), 1);
  }
  int fds[2];
};

std::unique_ptr<UvLoop> quiet_loop() {
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
  while (readable(*loop)) loop->run_once({});
  return loop;
}

}  // namespace

Test(uv_loop, shows_what_only_its_poller_can_take) {
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
  loop->show(true);
  loop->run_unattended();
  cr_assert(readable(*loop), "a turn does not take it away");
  loop->show(false);
  loop->show(false);
  cr_assert(not readable(*loop));
  bool was_unattended = false;
  loop->post([&] { was_unattended = loop->is_unattended(); });
  loop->run_unattended();
  cr_assert(was_unattended);
  cr_assert(not loop->is_unattended());
}

Test(uv_loop, is_quiet_without_work) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  for (int i = 0; i < 3; i++) {
    loop->run_once({});
    cr_assert(not readable(*loop));
  }
}

Test(uv_loop, waits_no_longer_than_told) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  Time start = loop->now();
  loop->run_once(ms(5));
  Duration took = loop->now() - start;
  cr_assert_geq(took.ns, ms(5).ns);
  cr_assert_lt(took.ns, sec(5).ns);
}

Test(uv_loop, runs_timers_in_order_and_never_early) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  std::vector<int> ran;
  Time start = loop->now();
  std::vector<std::unique_ptr<Timer>> timers;
  for (int wait : {3, 1, 2})
    timers.push_back(loop->after(ms(wait), [&, wait] {
      cr_assert_geq((loop->now() - start).ns, ms(wait).ns);
      ran.push_back(wait);
    }));
  while (ran.size() < 3) loop->run_once(forever);
  cr_assert(ran == (std::vector<int>{1, 2, 3}));
}

Test(uv_loop, shows_a_due_timer_in_its_descriptor) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  bool ran = false;
  std::unique_ptr<Timer> timer = loop->after(ms(2), [&] { ran = true; });
  cr_assert(becomes_readable(*loop));
  loop->run_once({});
  cr_assert(ran);
  cr_assert(not readable(*loop));
}

Test(uv_loop, shows_a_timer_that_is_made_inside_a_turn) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  bool ran = false;
  std::unique_ptr<Timer> timer;
  loop->later([&] { timer = loop->after(us(10), [&] { ran = true; }); });
  loop->run_once({});
  cr_assert(becomes_readable(*loop));
  loop->run_once({});
  cr_assert(ran);
}

Test(uv_loop, lets_a_timer_be_cancelled_also_inside_its_own_function) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  int ran = 0;
  std::unique_ptr<Timer> self, other;
  self = loop->after(ms(1), [&, guard = std::make_unique<int>(7)] {
    ran++;
    self.reset();
    other.reset();
    cr_assert_eq(*guard, 7, "what the function holds lives until it returns");
  });
  other = loop->after(ms(1), [&] { ran += 100; });
  std::unique_ptr<Timer> last = loop->after(ms(3), [&] { ran += 1000; });
  while (ran < 1000) loop->run_once(forever);
  cr_assert_eq(ran, 1001);
}

Test(uv_loop, gives_a_timer_without_a_wait_the_next_turn) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  int turn = 0, ran_in = 0;
  std::unique_ptr<Timer> timer;
  Fn<void()> again = [&] {
    ran_in = turn;
    timer = loop->after({}, [&] { again(); });
  };
  again();
  for (turn = 1; turn <= 5; turn++) {
    cr_assert(becomes_readable(*loop));
    loop->run_once({});
    cr_assert_eq(ran_in, turn, "once in each turn");
  }
}

Test(uv_loop, keeps_ten_thousand_timers_apart) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  Random random(seed(42));
  std::vector<std::unique_ptr<Timer>> timers(10000);
  std::vector<bool> ran(timers.size()), cancelled(timers.size());
  size_t left = 0;
  Time start = loop->now();
  Time last = start;
  for (size_t i = 0; i < timers.size(); i++) {
    Duration wait = us(random.between(0, 20000));
    timers[i] = loop->after(wait, [&, i, wait] {
      cr_assert(not ran[i] && not cancelled[i]);
      cr_assert_geq((loop->now() - start).ns, wait.ns);
      ran[i] = true;
      left--;
      last = loop->now();
    });
    left++;
  }
  for (size_t i = 0; i < timers.size(); i++) {
    if (!random.chance(1, 2)) continue;
    timers[i].reset();
    cancelled[i] = true;
    left--;
  }
  while (left > 0) loop->run_once(forever);
  for (size_t i = 0; i < timers.size(); i++) cr_assert(ran[i] != cancelled[i]);
}

Test(uv_loop, takes_time_to_stand_still_during_a_turn) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  loop->later([&] {
    Time before = loop->now();
    timespec nap{0, 1000000};
    ::nanosleep(&nap, nullptr);
    cr_assert_eq(loop->now().ns, before.ns);
  });
  loop->run_once({});
}

Test(uv_loop, sees_the_new_time_after_a_wait) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  PipeEnds pipe;
  Time seen;
  std::unique_ptr<FdWatch> watch = loop->watch(pipe.fds[0], [&] {
    seen = loop->now();
    pipe.take();
  });
  loop->run_once({});
  Time put_at;
  std::thread writer([&] {
    timespec nap{0, 5000000};
    ::nanosleep(&nap, nullptr);
    put_at = loop->now();
    pipe.put();
  });
  while (seen == Time{}) loop->run_once(forever);
  writer.join();
  cr_assert_geq(seen.ns, put_at.ns);
}

Test(uv_loop, runs_what_was_put_off_in_order_at_the_end_of_the_turn) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  std::string order;
  loop->post([&] {
    loop->later([&] {
      order += "2";
      loop->later([&] { order += "4"; });
    });
    loop->later([&] { order += "3"; });
    order += "1";
  });
  loop->run_once({});
  cr_assert_eq(order, "1234");
}

Test(uv_loop, shows_what_was_put_off_outside_a_turn) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  bool ran = false;
  loop->later([&] { ran = true; });
  cr_assert(readable(*loop));
  loop->run_once(forever);
  cr_assert(ran);
  cr_assert(not readable(*loop));
}

Test(uv_loop, shows_a_post_of_another_thread) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  bool ran = false;
  std::thread([&] { loop->post([&] { ran = true; }); }).join();
  cr_assert(readable(*loop));
  loop->run_once(forever);
  cr_assert(ran);
  cr_assert(not readable(*loop));
}

Test(uv_loop, is_woken_by_a_post) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  int ran = 0;
  std::thread writer([&] {
    for (int i = 0; i < 1000; i++) loop->post([&] { ran++; });
  });
  while (ran < 1000) loop->run_once(forever);
  writer.join();
}

Test(uv_loop, takes_posts_of_posts_in_turns) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  int ran = 0;
  Fn<void()> again = [&] {
    ran++;
    loop->post([&] { again(); });
  };
  again();
  for (int turn = 0; turn < 10; turn++) {
    cr_assert(readable(*loop), "a turn ends, and says that there is more");
    loop->run_once(forever);
  }
  cr_assert_geq(ran, 10);
}

Test(uv_loop, shows_data_that_arrives_and_goes_on_until_it_is_taken) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  PipeEnds pipe;
  int calls = 0;
  std::unique_ptr<FdWatch> watch = loop->watch(pipe.fds[0], [&] {
    if (++calls == 3) pipe.take();
  });
  loop->run_once({});
  pipe.put();
  while (readable(*loop)) loop->run_once({});
  cr_assert_eq(calls, 3);
}

Test(uv_loop, shows_a_watch_that_was_just_started) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  PipeEnds pipe;
  pipe.put();
  int calls = 0;
  std::unique_ptr<FdWatch> watch = loop->watch(pipe.fds[0], [&] {
    calls++;
    pipe.take();
  });
  cr_assert(readable(*loop));
  loop->run_once({});
  cr_assert_eq(calls, 1);
}

Test(uv_loop, shows_a_watch_that_was_started_inside_a_turn) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  PipeEnds pipe;
  int calls = 0;
  std::unique_ptr<FdWatch> watch;
  // By a timer, since those run when libuv has had its turn.
  std::unique_ptr<Timer> timer = loop->after({}, [&] {
    watch = loop->watch(pipe.fds[0], [&] {
      calls++;
      pipe.take();
    });
  });
  loop->run_once({});
  cr_assert_not_null(watch);
  cr_assert(not readable(*loop));
  pipe.put();
  cr_assert(readable(*loop), "it is registered when the turn ends");
  loop->run_once({});
  cr_assert_eq(calls, 1);
}

Test(uv_loop, lets_a_watch_end_inside_its_own_function) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  PipeEnds pipe;
  std::unique_ptr<FdWatch> watch;
  watch = loop->watch(pipe.fds[0], [&, guard = std::make_unique<int>(7)] {
    watch.reset();
    cr_assert_eq(*guard, 7);
  });
  pipe.put();
  while (watch != nullptr) loop->run_once(forever);
  while (readable(*loop)) loop->run_once({});
}

Test(uv_loop, hears_the_end_of_a_pipe) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  PipeEnds pipe;
  bool ended = false;
  std::unique_ptr<FdWatch> watch = loop->watch(pipe.fds[0], [&] {
    char byte;
    ended = ::read(pipe.fds[0], &byte, 1) == 0;
    watch.reset();
  });
  ::close(std::exchange(pipe.fds[1], -1));
  loop->run_once(forever);
  cr_assert(ended);
}

Test(uv_loop, stays_readable_when_told_that_there_is_more) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  loop->raise();
  cr_assert(readable(*loop), "outside a turn");
  loop->run_once({});
  cr_assert(not readable(*loop));
  loop->later([&] { loop->raise(); });
  loop->run_once({});
  cr_assert(readable(*loop), "inside a turn");
  loop->run_once(forever);
  cr_assert(not readable(*loop));
}

Test(uv_loop, comes_back_after_one_wait) {
  std::unique_ptr<UvLoop> loop = quiet_loop();
  std::thread([&] { loop->post([] {}); }).join();
  loop->run_once(forever);
  std::thread waker([&] {
    timespec nap{0, 2000000};
    ::nanosleep(&nap, nullptr);
    loop->post([] {});
  });
  loop->run_once(forever);
  waker.join();
}

Test(uv_loop, destroys_unrun_what_still_waits) {
  struct Counted {
    int* count;
    explicit Counted(int* count) : count(count) { ++*count; }
    Counted(Counted&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
    ~Counted() {
      if (count != nullptr) --*count;
    }
  };
  int alive = 0;
  std::unique_ptr<Timer> timer;
  {
    std::unique_ptr<UvLoop> loop = quiet_loop();
    loop->post([held = Counted(&alive)] { cr_assert(false); });
    loop->later([held = Counted(&alive)] { cr_assert(false); });
    timer = loop->after(ms(0), [held = Counted(&alive)] { cr_assert(false); });
    Done<int> done = [&loop = *loop](Result<int>) { loop.post([] { cr_assert(false); }); };
    loop->post([done = std::move(done)]() mutable { done(1); });
    cr_assert_eq(alive, 3);
  }
  cr_assert_eq(alive, 1);
  timer.reset();
  cr_assert_eq(alive, 0, "a timer may outlive its loop, and stays silent");
}
