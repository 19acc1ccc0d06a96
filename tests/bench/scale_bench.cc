// bench/scale_bench.cc - a thousand services of ten instances each: how soon a client knows them, and what changes.
//
// usage: scale_bench [--services 1000] [--quick] [host|etcd ...]
//
// Ten programs announce all of it, in a directory of this host and in an etcd of our own. Then clients begin, one after
// the other, and watch every service through an engine: the time until they know all, and their memory for it. Of one of
// them, while instances come and go, 20 and 500 of them a second: from announcing (or withdrawing) one to the change at
// the client. At last one program of the ten ends, with all its instances. Returns 1 when a client needs more than 1 s or
// 2 KiB an instance, or p99 of a change is above 500 ms.
#include <sys/resource.h>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>

#include "bench/processes.h"
#include "engine.h"
#include "kit/calls.h"
#include "kit/etcd.h"

using namespace nebula;
using namespace nebula::kit;
using namespace nebula::bench;

namespace {

constexpr double sync_ms_max = 1000, change_ms_max = 500, node_bytes_max = 2048;
constexpr size_t instances_of_each = 10, announcers = 10;
constexpr int syncs = 20;
constexpr int patience_ms = 30'000;
constexpr Duration life = sec(2);  // of an instance that comes and goes

// `announced` and `withdrawn` by who does it, `listed` and `gone` by the client; rounds are ids.
enum Kind : int32_t { ready, synced, sync_cpu, node_bytes, channel_bytes, announced, withdrawn, listed, gone, done, left };

std::string name_of(size_t service) { return "shop.department" + std::to_string(service) + ".Service"; }

// --- the roles ---

struct Program {
  explicit Program(const std::string& registry) {
    Config config;
    config.registry = registry;
    config.log = Level::warn;
    engine = std::move(*Engine::make(config));
    worker = std::move(*Worker::make(*engine));
    end = worker->loop().watch(end_fd, [this] { has_ended = true; });
  }
  ~Program() {
    end.reset();
    worker.reset();
  }

  Registry& registry() { return **worker->registry(); }
  template <class Holds>
  void run_until(Holds holds) {
    while (!has_ended && !holds()) worker->loop().run_once(sec(60));
  }

  std::unique_ptr<Engine> engine;
  std::unique_ptr<Worker> worker;
  std::unique_ptr<FdWatch> end;
  bool has_ended = false;
};

// As a server announces itself: an address of the network, and one of this host.
Endpoint instance(const std::string& id) {
  Endpoint endpoint{id, {url("unix:/run/user/1000/nebula/default/" + id + ".sock"), url("tcp://10.11.12.13:26491")}};
  endpoint.zone = "eu-1";
  return endpoint;
}

int announce_role(const std::string& registry, size_t first, size_t count) {
  Program program(registry);
  std::vector<std::unique_ptr<Lease>> leases;
  for (size_t service = first; service < first + count; service++)
    for (size_t i = 0; i < instances_of_each; i++)
      program.registry().announce(name_of(service), instance("i" + std::to_string(i)),
                                  [&leases](Result<std::unique_ptr<Lease>> lease) {
                                    if (!lease.ok()) _exit(1);
                                    leases.push_back(std::move(*lease));
                                  });
  program.run_until([&] { return leases.size() == count * instances_of_each; });
  report(ready, static_cast<int>(first), now_ns());
  program.run_until([] { return false; });
  // In order, as a server does that is told to end.
  leases.clear();
  std::unique_ptr<Timer> grace = program.worker->loop().after(sec(2), [] {});
  for (Time end = program.worker->loop().now() + sec(2); program.worker->loop().now() < end;)
    program.worker->loop().run_once(sec(2));
  return 0;
}

size_t resident_bytes() {
  size_t pages = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%*u %zu", &pages) != 1) _exit(1);
  std::fclose(file);
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

int64_t cpu_ns() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1'000'000'000 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1'000;
}

// Ids of instances that come and go are "c<round>".
int watch_role(const std::string& registry, size_t services, bool stays) {
  size_t before = resident_bytes();
  int64_t start = now_ns();
  Program program(registry);
  std::vector<std::vector<std::string>> known(services);
  std::vector<std::unique_ptr<Watch>> watches;
  size_t instances = 0;
  for (size_t i = 0; i < services; i++)
    watches.push_back(program.registry().watch(name_of(i), [&known, &instances, i](Snapshot snapshot) {
      int64_t now = now_ns();
      std::vector<std::string> ids;
      for (const Endpoint& endpoint : *snapshot.endpoints) ids.push_back(endpoint.id);
      auto tell_news = [now](Kind kind, const std::vector<std::string>& there, const std::vector<std::string>& others) {
        for (const std::string& id : there)
          if (id[0] == 'c' && std::find(others.begin(), others.end(), id) == others.end())
            report(kind, std::stoi(id.substr(1)), now);
      };
      tell_news(listed, ids, known[i]);
      tell_news(gone, known[i], ids);
      instances += ids.size() - known[i].size();
      known[i] = std::move(ids);
    }));
  program.run_until([&] { return instances == services * instances_of_each; });
  report(synced, 0, now_ns() - start);
  report(sync_cpu, 0, cpu_ns());
  auto per_node = [&] { return static_cast<int64_t>((resident_bytes() - before) / (services * instances_of_each)); };
  // What the test itself keeps is the ids, which are short enough to need no memory of their own.
  report(node_bytes, 0, per_node());
  if (!stays) return 0;
  // The program that ends has announced a tenth.
  size_t last = services * instances_of_each / announcers * (announcers - 1);
  program.run_until([&] { return instances == last; });
  report(left, 0, now_ns());
  program.run_until([] { return false; });
  return 0;
}

// All of them called once, so that every instance is a node of a channel; nobody listens at their addresses.
int call_role(const std::string& registry, size_t services) {
  Program program(registry);
  size_t before = resident_bytes();
  std::unique_ptr<Service> channels = std::move(*program.worker->open_channel(url("nebula:"), {}));
  size_t ended = 0;
  {
    std::vector<std::unique_ptr<kit::Call>> calls;
    for (size_t i = 0; i < services; i++) {
      calls.push_back(std::make_unique<kit::Call>("/" + name_of(i) + "/Get"));
      calls.back()->then = [&ended] { ended++; };
      channels->call(calls.back()->request(), calls.back()->reply());
    }
    program.run_until([&] { return ended == services; });
  }
  report(channel_bytes, 0, static_cast<int64_t>((resident_bytes() - before) / (services * instances_of_each)));
  channels.reset();
  return 0;
}

// In turn an instance more, now of this service and now of that, and one less, of those that were there long enough for
// everybody to have seen them.
int change_role(const std::string& registry, size_t services, int first, int rounds, Duration pause) {
  Program program(registry);
  struct Held {
    Time since;
    std::unique_ptr<Lease> lease;
  };
  UvLoop& loop = program.worker->loop();
  std::map<int, Held> leases;
  std::unique_ptr<Timer> timer;
  int round = first;
  bool withdraws = false;
  std::function<void()> step = [&] {
    timer = loop.after(pause, [&] { step(); });
    if (std::exchange(withdraws, !withdraws)) {
      if (leases.empty() || loop.now() - leases.begin()->second.since < life) return;
      report(withdrawn, leases.begin()->first, now_ns());
      leases.erase(leases.begin());
    } else if (round < first + rounds) {
      report(announced, round, now_ns());
      program.registry().announce(name_of(static_cast<size_t>(round) * 7 % services), instance("c" + std::to_string(round)),
                                  [&leases, &loop, id = round](Result<std::unique_ptr<Lease>> lease) {
                                    if (!lease.ok()) _exit(1);
                                    leases[id] = {loop.now(), std::move(*lease)};
                                  });
      round++;
    } else if (leases.empty()) {
      timer.reset();
      report(done, 0, now_ns());
    }
  };
  step();
  program.run_until([] { return false; });
  return 0;
}

// --- the parent ---

class Case {
 public:
  Case(std::string name, std::string registry, size_t services)
      : name_(std::move(name)), registry_(std::move(registry)), services_(services) {
    if (pipe2(reports_, O_CLOEXEC) != 0) abort();
  }
  ~Case() {
    for (int fd : reports_) close(fd);
  }

  bool run(int changes) {
    std::vector<std::unique_ptr<Part>> all;
    int64_t start = now_ns(), last = 0;
    for (size_t i = 0; i < announcers; i++)
      all.push_back(part({"announce", std::to_string(services_ / announcers * i), std::to_string(services_ / announcers)}));
    for (size_t i = 0; i < announcers; i++)
      if (!next(ready, &last)) return false;
    std::printf("scale %-4s announced  %zu services of %zu instances, by %zu programs, in %.0f ms\n", name_.c_str(),
                services_, instances_of_each, announcers, static_cast<double>(last - start) / 1e6);

    Times syncs_ms, cpu_ms;
    int64_t bytes = 0, took = 0, cpu = 0;
    std::unique_ptr<Part> client;
    for (int i = 0; i < syncs; i++) {
      client = part({"watch", i + 1 == syncs ? "stay" : "go"});
      if (!next(synced, &took) || !next(sync_cpu, &cpu) || !next(node_bytes, &bytes)) return false;
      syncs_ms.add(0, took);
      cpu_ms.add(0, cpu);
    }
    print("sync", syncs_ms, sync_ms_max, 100);
    print("sync, CPU", cpu_ms, sync_ms_max, 100);
    print_bytes("an instance, known", bytes, node_bytes_max);
    {
      std::unique_ptr<Part> caller = part({"call"});
      if (!next(channel_bytes, &bytes)) return false;
      print_bytes("an instance, known and a node of a channel", bytes, 1e9);
    }
    if (!change(changes / 4, ms(50), "20/s") || !change(changes, ms(2), "500/s")) return false;
    start = all.back()->end_soon();
    if (!next(left, &last)) return false;
    Times end;
    end.add(start, last);
    print("leaving", end, patience_ms, 100);
    return is_good_;
  }

 private:
  std::unique_ptr<Part> part(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin() + 1, {registry_, std::to_string(services_)});
    return std::make_unique<Part>(reports_[1], std::move(arguments));
  }

  bool next(Kind kind, int64_t* value) {
    Report report;
    while (next_report(reports_[0], patience_ms, &report)) {
      *value = report.value;
      if (report.kind == kind) return true;
    }
    std::printf("scale %s: nothing was heard for %d ms\n", name_.c_str(), patience_ms);
    return false;
  }

  bool change(int rounds, Duration pause, const char* rate) {
    std::unique_ptr<Part> changer =
        part({"change", std::to_string(rounds_), std::to_string(rounds), std::to_string(pause.ns)});
    rounds_ += rounds;
    std::map<int, int64_t> open[2];  // announced, withdrawn
    Times times[2];
    bool is_done = false;
    while (!is_done || !open[0].empty() || !open[1].empty()) {
      Report report;
      if (!next_report(reports_[0], patience_ms, &report)) {
        std::printf("scale %s: of %zu changes nothing was heard\n", name_.c_str(), open[0].size() + open[1].size());
        return false;
      }
      is_done |= report.kind == done;
      if (report.kind == announced || report.kind == withdrawn) open[report.kind == withdrawn][report.round] = report.value;
      if (report.kind != listed && report.kind != gone) continue;
      auto begun = open[report.kind == gone].find(report.round);
      times[report.kind == gone].add(begun->second, report.value);
      open[report.kind == gone].erase(begun);
    }
    print(std::string("come ") + rate, times[0], change_ms_max, 99);
    print(std::string("go ") + rate, times[1], change_ms_max, 99);
    return true;
  }

  void print(const std::string& what, Times& times, double ms_max, size_t per_hundred) {
    times.sort();
    bool is_good = times.at(per_hundred) <= ms_max;
    is_good_ = is_good_ && is_good;
    std::printf("scale %-4s %-10s p50 %6.1f  p99 %6.1f  max %6.1f ms  %zu times%s\n", name_.c_str(), what.c_str(),
                times.at(50), times.at(99), times.ms.back(), times.ms.size(), is_good ? "" : "  TOO SLOW");
    std::fflush(stdout);
  }

  void print_bytes(const char* of, int64_t bytes, double most) {
    bool is_good = static_cast<double>(bytes) <= most;
    is_good_ = is_good_ && is_good;
    std::printf("scale %-4s memory     %lld bytes for %s%s\n", name_.c_str(), static_cast<long long>(bytes), of,
                is_good ? "" : "  TOO MUCH");
    std::fflush(stdout);
  }

  const std::string name_, registry_;
  const size_t services_;
  int reports_[2];
  int rounds_ = 0;
  bool is_good_ = true;
};

}  // namespace

int main(int count, char** arguments) {
  // An instance announced on this host is an open file.
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  std::vector<std::string> words(arguments + 1, arguments + count);
  auto number = [&words](size_t at) { return std::stoull(words[at]); };
  if (words.size() == 5 && words[0] == "announce") return announce_role(words[1], number(3), number(4));
  if (words.size() == 4 && words[0] == "watch") return watch_role(words[1], number(2), words[3] == "stay");
  if (words.size() == 3 && words[0] == "call") return call_role(words[1], number(2));
  if (words.size() == 6 && words[0] == "change")
    return change_role(words[1], number(2), static_cast<int>(number(3)), static_cast<int>(number(4)),
                       nanos(static_cast<int64_t>(number(5))));
  size_t services = 1000;
  int changes = 1000;
  std::vector<std::string> chosen;
  for (size_t i = 0; i < words.size(); i++) {
    if (words[i] == "--services" && i + 1 < words.size()) services = std::max<size_t>(number(++i), announcers);
    else if (words[i] == "--quick") services = 100, changes = 100;
    else chosen.push_back(words[i]);
  }
  services -= services % announcers;
  if (chosen.empty()) chosen = {"host", "etcd"};
  bool is_good = true;
  for (const std::string& name : chosen) {
    if (name == "host") {
      TempDirectory directory;
      is_good = Case(name, "host:?dir=" + directory.path, services).run(changes) && is_good;
    } else if (EtcdProcess::is_installed()) {
      EtcdProcess etcd;
      is_good = Case(name, "etcd://" + etcd.address(), services).run(changes) && is_good;
    } else {
      std::printf("scale etcd: not measured, for there is no /usr/bin/etcd (make setup)\n");
    }
  }
  return is_good ? 0 : 1;
}
