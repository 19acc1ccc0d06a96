// tsan/loop_tsan.cc - what crosses threads, for ThreadSanitizer: mailbox, loop threads, mem: between loops.
//
// A plain program, for Criterion's runner does not live under that sanitizer. Returns 0 when all counts add up.
#include <cstdio>
#include <thread>

#include "kit/conns.h"
#include "loop/loop_thread.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

bool check(bool holds, const char* what) {
  std::printf("%s: %s\n", holds ? "ok" : "FAILED", what);
  return holds;
}

// Writers against a reader that sleeps without a timeout: a lost wake-up hangs here.
bool posts_arrive_in_order() {
  constexpr int writers = 4, posts = 20000;
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
  int next[writers] = {};
  int arrived = 0;
  bool in_order = true;
  std::vector<std::thread> threads;
  for (int writer = 0; writer < writers; writer++)
    threads.emplace_back([&, writer] {
      for (int i = 0; i < posts; i++) {
        loop->post([&, writer, i] {
          in_order = in_order && next[writer]++ == i;
          arrived++;
        });
        if (i % 64 == 0) std::this_thread::yield();
      }
    });
  while (arrived < writers * posts) loop->run_once(nanos(-1));
  for (std::thread& thread : threads) thread.join();
  return check(in_order, "posts of one thread keep their order, and none is lost");
}

bool threads_run_what_they_are_given() {
  int ran = 0;
  bool cleaned = false;
  for (int round = 0; round < 50; round++) {
    std::unique_ptr<Timer> timer;
    std::unique_ptr<LoopThread> thread = std::move(*LoopThread::start());
    for (int i = 0; i < 20; i++) thread->run_sync([&] { ran++; });
    thread->run_sync([&] { timer = thread->loop().after(sec(100), [] {}); });
    thread->at_end([&] {
      timer.reset();
      cleaned = true;
    });
  }
  return check(ran == 1000 && cleaned, "a loop thread runs, answers and ends");
}

// What one loop has: its network, and the ends that live on it.
struct Side {
  Side(Loop& loop, MemHub& hub) : network(loop, log, random, transports(), hub) {}
  Log log{Level::warn};
  Random random{1};
  Network network;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<End>> ends;
};

bool mem_crosses_threads() {
  constexpr int conns = 8, messages = 500;
  MemHub hub;
  std::unique_ptr<Side> theirs;
  std::unique_ptr<LoopThread> thread = std::move(*LoopThread::start("nebula-echo"));
  thread->at_end([&] { theirs.reset(); });
  thread->run_sync([&] {
    theirs = std::make_unique<Side>(thread->loop(), hub);
    theirs->listener = std::move(*theirs->network.listen(url("mem:echo"), [&](std::unique_ptr<Conn> conn) {
      theirs->ends.push_back(std::make_unique<End>(std::move(conn)));
      End* end = theirs->ends.back().get();
      end->then = [end] { end->write(std::exchange(end->received, {})); };
      end->on_close = [end] { end->conn.reset(); };
    }));
  });
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
  size_t echoed = 0;
  {
    Side ours(*loop, hub);
    for (int i = 0; i < conns; i++)
      ours.network.dial(url("mem:echo"), [&](Result<std::unique_ptr<Conn>> conn) {
        ours.ends.push_back(std::make_unique<End>(std::move(*conn)));
        for (int j = 0; j < messages; j++) ours.ends.back()->write(std::string(100, 'x'));
      });
    while (echoed < size_t{conns} * messages * 100) {
      loop->run_once(nanos(-1));
      for (const std::unique_ptr<End>& end : ours.ends) echoed += std::exchange(end->received, {}).size();
    }
    // Ends of both sides now go at the same time, those of the other thread with their loop.
    for (int i = 0; i < conns / 2; i++) ours.ends.pop_back();
    thread.reset();
    for (int turn = 0; turn < 10; turn++) loop->run_once({});
    for (const std::unique_ptr<End>& end : ours.ends)
      if (!end->closed) return check(false, "the end of a loop closes its connections");
  }
  return check(true, "mem: carries bytes between loops, and survives the end of one");
}

bool loops_may_die_at_any_moment() {
  for (int round = 0; round < 200; round++) {
    MemHub hub;
    std::unique_ptr<Side> theirs;
    std::unique_ptr<LoopThread> thread = std::move(*LoopThread::start());
    thread->at_end([&] { theirs.reset(); });
    thread->run_sync([&] {
      theirs = std::make_unique<Side>(thread->loop(), hub);
      theirs->listener = std::move(*theirs->network.listen(url("mem:x"), [&](std::unique_ptr<Conn> conn) {
        theirs->ends.push_back(std::make_unique<End>(std::move(conn)));
      }));
    });
    std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
    Side ours(*loop, hub);
    for (int i = 0; i < 4; i++)
      ours.network.dial(url("mem:x"), [&](Result<std::unique_ptr<Conn>> conn) {
        if (!conn.ok()) return;
        ours.ends.push_back(std::make_unique<End>(std::move(*conn)));
        ours.ends.back()->write("hello");
      });
    for (int turn = 0; turn < round % 4; turn++) loop->run_once({});
    thread.reset();
    for (int turn = 0; turn < 3; turn++) loop->run_once({});
  }
  return check(true, "a loop may end while the other writes");
}

}  // namespace

int main() {
  bool ok = posts_arrive_in_order();
  ok = threads_run_what_they_are_given() && ok;
  ok = mem_crosses_threads() && ok;
  ok = loops_may_die_at_any_moment() && ok;
  return ok ? 0 : 1;
}
