// tsan/registry_tsan.cc - the registry across threads, for ThreadSanitizer: the keeper, and one registry seen from many
// loops.
//
// A plain program, for Criterion's runner does not live under that sanitizer. Returns 0 when all went as it should.
#include <atomic>
#include <cstdio>
#include <thread>

#include "kit/registry_world.h"
#include "loop/keeper.h"
#include "loop/loop_thread.h"
#include "service/registry/posted.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

bool check(bool holds, const char* what) {
  std::printf("%s: %s\n", holds ? "ok" : "FAILED", what);
  return holds;
}

bool keepers_hold_their_files() {
  constexpr int threads_count = 4, rounds = 50;
  TempDirectory temporary;
  std::atomic<int> held{0}, removed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < threads_count; i++)
    threads.emplace_back([&] {
      Result<std::unique_ptr<Directory>> directory = Directory::prepare(temporary.path, {"keepers"});
      for (int round = 0; round < rounds && directory.ok(); round++) {
        std::string name = unique_name();
        Result<std::unique_ptr<Keeper>> keeper = Keeper::start((*directory)->path(), name);
        if (!keeper.ok()) return;
        if (round % 5 != 0) held += (*keeper)->ready().ok() && (*directory)->probe(name) == Life::alive;
        if (round % 5 == 0) held++;  // ended while it begins
        keeper->reset();
        removed += (*directory)->probe(name) == Life::gone;
      }
    });
  for (std::thread& thread : threads) thread.join();
  return check(held == threads_count * rounds && removed == held, "a keeper holds its file, and removes it in the end");
}

// What one thread does with a registry that lives on another: everybody announces, and waits to see everybody.
bool meet(PostedRegistry& registry, UvLoop& loop, const std::string& own_id, size_t all, std::atomic<size_t>& met) {
  std::unique_ptr<Lease> lease;
  registry.announce("hello", endpoint(own_id), [&lease](Result<std::unique_ptr<Lease>> got) {
    if (got.ok()) lease = std::move(*got);
  });
  Seen seen(registry, "hello");
  bool has_met = false;
  Time end = loop.now() + sec(30);
  // Nobody leaves before all have met.
  while (met < all && loop.now() < end) {
    loop.run_once(ms(1));
    if (!has_met && seen.snapshots.size() > 0 && seen.ids().size() == all) {
      has_met = true;
      met++;
    }
  }
  return lease != nullptr && has_met;
}

bool loops_share_one_registry() {
  constexpr size_t threads_count = 4;
  constexpr int rounds = 10;
  TempDirectory directory;
  // They outlive home's thread: libuv closes its descriptors behind ThreadSanitizer's back, which would take their numbers
  // for the same files when that thread is given them.
  std::vector<std::unique_ptr<UvLoop>> loops;
  for (size_t i = 0; i < threads_count; i++) loops.push_back(std::move(*UvLoop::make()));
  Log log(Level::off);
  Random random(1);
  std::unique_ptr<Registry> shared;
  std::unique_ptr<LoopThread> home = std::move(*LoopThread::start());
  home->run_sync([&] {
    Result<HostPlace> place = choose_host_place(*Url::parse("host:?dir=" + directory.path));
    shared = make_host_registry(*place, home->loop(), log, random);
  });
  home->at_end([&shared] { shared.reset(); });
  std::atomic<int> meetings{0};
  for (int round = 0; round < rounds; round++) {
    std::atomic<size_t> met{0};
    std::vector<std::thread> threads;
    for (size_t i = 0; i < threads_count; i++)
      threads.emplace_back([&, i] {
        PostedRegistry registry(*home, *shared, *loops[i]);
        Result<std::optional<Url>> address = registry.local_address("x");
        std::string id = "r" + std::to_string(round) + "t" + std::to_string(i);
        if (address.ok() && meet(registry, *loops[i], id, threads_count, met)) meetings++;
      });
    for (std::thread& thread : threads) thread.join();
  }
  return check(meetings == rounds * static_cast<int>(threads_count), "loops that share a registry see each other");
}

// The answers are on their way when the one who asked goes.
bool questions_may_be_left_unanswered() {
  constexpr int rounds = 200;
  TempDirectory directory;
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
  Log log(Level::off);
  Random random(1);
  std::unique_ptr<Registry> shared;
  std::unique_ptr<LoopThread> home = std::move(*LoopThread::start());
  home->run_sync([&] {
    Result<HostPlace> place = choose_host_place(*Url::parse("host:?dir=" + directory.path));
    shared = make_host_registry(*place, home->loop(), log, random);
  });
  home->at_end([&shared] { shared.reset(); });
  int answers = 0;
  for (int round = 0; round < rounds; round++) {
    PostedRegistry registry(*home, *shared, *loop);
    std::unique_ptr<Watch> watch = registry.watch("hello", [](Snapshot) {});
    for (int i = 0; i < 3; i++)
      registry.announce("hello", endpoint("i" + std::to_string(i)),
                        [&answers](Result<std::unique_ptr<Lease>>) { answers++; });
    if (round % 2 == 0) loop->run_once(Duration());
  }
  for (int turn = 0; turn < 3; turn++) loop->run_once(Duration());
  return check(answers == 3 * rounds, "every announcement is answered once, also when its registry goes first");
}

}  // namespace

int main() {
  bool all = keepers_hold_their_files();
  all = loops_share_one_registry() && all;
  all = questions_may_be_left_unanswered() && all;
  return all ? 0 : 1;
}
