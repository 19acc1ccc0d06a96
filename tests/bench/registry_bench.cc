// bench/registry_bench.cc - how soon watchers on this host see an instance come, and go by kill -9.
//
// usage: registry_bench [--rounds 200] [--watchers 1,20]
//
// One line per case, over all rounds: the time until the last of the watchers knew. Instances and watchers are processes
// (this program again, with a role), times are CLOCK_MONOTONIC, which all processes share. Returns 1 when p99 of an
// arrival is above 10 ms, p99 of a death above 50 ms, or a watcher heard nothing within ten seconds.
#include <sys/mman.h>

#include <cstdio>
#include <cstring>

#include "bench/processes.h"
#include "kit/registry_world.h"

using namespace nebula;
using namespace nebula::kit;
using namespace nebula::bench;

namespace {

constexpr double new_ms_max = 10, gone_ms_max = 50;
constexpr int patience_ms = 10'000;

enum Kind : int32_t { ready, listed, gone };

struct Case {
  const char* name;
  size_t heap_bytes;
  bool has_child;
};

constexpr Case cases[] = {
    {"plain", 0, false},
    {"1 GB heap", size_t{1} << 30, false},
    {"forked child lives", 0, true},
};

// --- the roles ---

void turn_until_end(UvLoop& loop) {
  bool has_ended = false;
  std::unique_ptr<FdWatch> end = loop.watch(end_fd, [&has_ended] { has_ended = true; });
  while (!has_ended) loop.run_once(sec(60));
}

// Ids of instances are their rounds.
int watch_role(const std::string& directory) {
  Host host(directory);
  std::vector<std::string> known;
  bool is_first = true;
  std::unique_ptr<Watch> watch = host.registry->watch("bench", [&](Snapshot snapshot) {
    int64_t now = now_ns();
    std::vector<std::string> ids;
    for (const Endpoint& endpoint : *snapshot.endpoints) ids.push_back(endpoint.id);
    for (const std::string& id : ids)
      if (std::find(known.begin(), known.end(), id) == known.end()) report(listed, std::stoi(id), now);
    for (const std::string& id : known)
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) report(gone, std::stoi(id), now);
    known = std::move(ids);
    if (std::exchange(is_first, false)) report(ready, 0, now);
  });
  turn_until_end(*host.loop);
  return 0;
}

int instance_role(const std::string& directory, const std::string& id, size_t heap_bytes, bool has_child) {
  if (heap_bytes > 0) {
    void* heap = mmap(nullptr, heap_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (heap == MAP_FAILED) return 1;
    // In small pages, which take the kernel longest to free.
    madvise(heap, heap_bytes, MADV_NOHUGEPAGE);
    memset(heap, 1, heap_bytes);
  }
  Host host(directory);
  int64_t start = now_ns();
  if (!host.announce("bench", endpoint(id)).ok()) return 1;
  if (has_child && fork() == 0) {
    // Keeps all that it inherited until the round is over.
    char none;
    while (read(end_fd, &none, 1) > 0) {
    }
    _exit(0);
  }
  report(ready, std::stoi(id), start);
  turn_until_end(*host.loop);
  return 0;
}

// --- the parent ---

// Waits for `count` reports of a kind; the latest of their times, or -1.
int64_t last_of(int reports, Kind kind, int round, size_t count) {
  int64_t last = 0;
  while (count > 0) {
    Report report;
    if (!next_report(reports, patience_ms, &report)) return -1;
    if (report.kind != kind || report.round != round) continue;
    last = std::max(last, report.value);
    count--;
  }
  return last;
}

bool print(Times& times, const char* what, const char* of, size_t watchers, double p99_max) {
  times.sort();
  bool is_good = times.at(99) <= p99_max;
  std::printf("registry %-4s %-18s %2zu watcher%s  p50 %6.2f  p99 %6.2f  max %6.2f ms  %zu rounds%s\n", what, of,
              watchers, watchers == 1 ? " " : "s", times.at(50), times.at(99), times.ms.back(), times.ms.size(),
              is_good ? "" : "  TOO SLOW");
  std::fflush(stdout);
  return is_good;
}

bool measure(const std::string& directory, int rounds, size_t watchers, const Case& kind, int* round) {
  int news[2], sights[2];
  if (pipe2(news, O_CLOEXEC) != 0 || pipe2(sights, O_CLOEXEC) != 0) return false;
  std::vector<std::unique_ptr<Part>> all;
  for (size_t i = 0; i < watchers; i++)
    all.push_back(std::make_unique<Part>(sights[1], std::vector<std::string>{"watch", directory}));
  bool is_good = last_of(sights[0], ready, 0, watchers) >= 0;
  Times coming, going;
  for (int i = 0; i < rounds && is_good; i++) {
    std::string id = std::to_string(++*round);
    Part instance(news[1], {"instance", directory, id, std::to_string(kind.heap_bytes), kind.has_child ? "1" : "0"});
    int64_t start = last_of(news[0], ready, *round, 1);
    int64_t seen = last_of(sights[0], listed, *round, watchers);
    int64_t crash = instance.crash();
    int64_t missed = last_of(sights[0], gone, *round, watchers);
    is_good = start >= 0 && seen >= 0 && missed >= 0;
    if (!is_good) break;
    coming.add(start, seen);
    going.add(crash, missed);
  }
  all.clear();
  for (int fd : {news[0], news[1], sights[0], sights[1]}) close(fd);
  if (!is_good) {
    std::printf("registry %s, %zu watchers: somebody heard nothing within %d ms\n", kind.name, watchers, patience_ms);
    return false;
  }
  bool is_listed_soon = print(coming, "new", kind.name, watchers, new_ms_max);
  bool is_gone_soon = print(going, "gone", kind.name, watchers, gone_ms_max);
  return is_listed_soon && is_gone_soon;
}

int measure_all(int rounds, const std::vector<size_t>& watcher_counts) {
  TempDirectory directory;
  bool is_good = true;
  int round = 0;
  for (size_t watchers : watcher_counts)
    for (const Case& kind : cases) is_good = measure(directory.path, rounds, watchers, kind, &round) && is_good;
  return is_good ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<std::string> words(arguments + 1, arguments + count);
  if (words.size() == 2 && words[0] == "watch") return watch_role(words[1]);
  if (words.size() == 5 && words[0] == "instance")
    return instance_role(words[1], words[2], std::stoull(words[3]), words[4] == "1");
  int rounds = 200;
  std::vector<size_t> watchers = {1, 20};
  for (size_t i = 0; i + 1 < words.size(); i += 2) {
    if (words[i] == "--rounds") rounds = std::max(1, atoi(words[i + 1].c_str()));
    if (words[i] != "--watchers") continue;
    watchers.clear();
    for (size_t at = 0; at < words[i + 1].size();
         at = std::min(words[i + 1].find(',', at), words[i + 1].size() - 1) + 1)
      watchers.push_back(std::max(1, atoi(words[i + 1].c_str() + at)));
  }
  return measure_all(rounds, watchers);
}
