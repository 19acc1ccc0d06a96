// sim/sim_test.cc - runs seeds, and says which of them break a rule.
//
// usage: sim [seeds [start]] [--seeds N] [--start S] [--verbose]     seeds S to S + N - 1
//        sim --churn                                                 one hour of virtual time in one world
//
// A failing seed is printed with what it was like and what it broke; --verbose shows all that happens in a run.
#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "sim/fleet.h"
#include "sim/heap.h"
#include "sim/nodes.h"
#include "sim/world.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace nebula::sim {

namespace {

// Every so many seeds one is run twice, and must do the same again.
constexpr uint64_t twice_one_in = 16;
constexpr uint64_t failures_max = 5;  // more would tell nothing new
constexpr unsigned wall_seconds_max = 300;  // of one run; a run that takes longer hangs

struct Options {
  uint64_t seeds = 100;
  uint64_t start = 1;
  bool verbose = false;
  bool churn = false;
  const char* program = "sim";
};

// ---- a run that does not come back must still say which it was

char last_words[200];

void prepare_last_words(const char* run) {
  std::snprintf(last_words, sizeof last_words, "sim: %s crashed, or did not end\n", run);
  alarm(wall_seconds_max);
}

void say_last_words() {
  ssize_t written = write(STDERR_FILENO, last_words, std::strlen(last_words));
  static_cast<void>(written);
}

void on_signal(int number) {
  say_last_words();
  signal(number, SIG_DFL);
  raise(number);
}

void catch_crashes() {
  for (int number : {SIGABRT, SIGALRM}) signal(number, on_signal);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  __sanitizer_set_death_callback(say_last_words);  // sees to the other signals too
#else
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, on_signal);
#endif
}

int descriptor_count() {
  int count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (directory != nullptr && readdir(directory) != nullptr) count++;
  if (directory != nullptr) closedir(directory);
  return count;
}

// ---- seeds

Outcome run_once(const Plan& plan, bool prints) {
  Heap before = heap_now();
  Outcome outcome;
  {
    World world(plan, prints);
    outcome = world.run();
  }
  Heap after = heap_now();
  if (outcome.violations.empty() && after != before)
    outcome.violations.push_back("leaves " + std::to_string(after.bytes - before.bytes) + " bytes in " +
                                 std::to_string(after.blocks - before.blocks) + " blocks behind");
  return outcome;
}

void run_fleet(uint64_t seed, const Options& options, Outcome* outcome) {
  FleetPlan plan = FleetPlan::draw(seed);
  if (options.verbose) std::printf("fleet: %s\n", plan.text().c_str());
  FleetOutcome fleet = FleetWorld(plan, options.verbose).run();
  if (fleet.violations.empty() && seed % twice_one_in == 0 && FleetWorld(plan, false).run() != fleet)
    fleet.violations.push_back("fleet: does something else when it is run again");
  for (std::string& violation : fleet.violations) outcome->violations.push_back(std::move(violation));
}

Outcome run_seed(uint64_t seed, const Options& options) {
  std::string name = "seed " + std::to_string(seed);
  prepare_last_words((name + " (--start " + std::to_string(seed) + " --seeds 1 --verbose)").c_str());
  Plan plan = Plan::draw(seed);
  if (options.verbose) std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), plan.text().c_str());
  Outcome outcome = run_once(plan, options.verbose);
  if (outcome.violations.empty() && seed % twice_one_in == 0 && run_once(plan, false) != outcome)
    outcome.violations.push_back("does something else when it is run again");
  if (options.verbose) std::printf("nodes: %s\n", NodesPlan::draw(seed).text().c_str());
  for (std::string& violation : NodesWorld(NodesPlan::draw(seed)).run()) outcome.violations.push_back(std::move(violation));
  run_fleet(seed, options, &outcome);
  return outcome;
}

void print_failure(uint64_t seed, const Outcome& outcome, const Options& options) {
  unsigned long long number = seed;
  std::printf("seed %llu: %s\n", number, Plan::draw(seed).text().c_str());
  std::printf("  nodes: %s\n", NodesPlan::draw(seed).text().c_str());
  std::printf("  fleet: %s\n", FleetPlan::draw(seed).text().c_str());
  for (const std::string& violation : outcome.violations) std::printf("  %s\n", violation.c_str());
  std::printf("  again: %s --start %llu --seeds 1 --verbose\n", options.program, number);
}

int run_seeds(const Options& options) {
  run_once(Plan::draw(0), false);  // what a program allocates once and keeps is not a leak
  uint64_t runs = 0, failures = 0, calls = 0, answers = 0;
  Duration length;
  for (; runs < options.seeds && failures < failures_max; runs++) {
    Outcome outcome = run_seed(options.start + runs, options);
    calls += outcome.calls;
    answers += outcome.answers;
    length = length + outcome.length;
    if (outcome.violations.empty()) continue;
    failures++;
    print_failure(options.start + runs, outcome, options);
  }
  std::printf("sim: %llu calls, %llu of them OK, in %lld s of virtual time\n", static_cast<unsigned long long>(calls),
              static_cast<unsigned long long>(answers), static_cast<long long>(length.ms() / 1000));
  std::printf("sim: %llu seeds, %llu failures\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(failures));
  return failures == 0 ? 0 : 1;
}

// ---- the long run

// Within one world nothing may grow either: the heap is looked at whenever all is quiet.
constexpr int churn_parts = 12;
constexpr int churn_warm_up = 1;  // tables that keep their size are full by then
constexpr int64_t growth_bytes_max = 16 << 10;

Outcome run_churn(const Plan& plan) {
  World world(plan, false);
  Heap first, last;
  world.start();
  for (int part = 0; part < churn_parts; part++) {
    prepare_last_words("the churn");
    world.suffer({plan.fault_phase.ns / churn_parts});
    world.heal();
    world.prove();
    world.forget();
    last = heap_now();
    if (part == churn_warm_up) first = last;
  }
  world.end();
  Outcome outcome = world.outcome();
  std::printf("sim: the quiet world held %lld bytes at first, and %lld in the end\n",
              static_cast<long long>(first.bytes), static_cast<long long>(last.bytes));
  if (last.bytes - first.bytes > growth_bytes_max)
    outcome.violations.push_back("the quiet world grew by " + std::to_string(last.bytes - first.bytes) + " bytes");
  return outcome;
}

int churn() {
  run_once(Plan::draw(0), false);
  Heap before = heap_now();
  int descriptors_before = descriptor_count();
  Outcome outcome = run_churn(Plan::churn());
  int64_t bytes = outcome.violations.empty() ? heap_now().bytes - before.bytes : 0;
  int descriptors = descriptor_count() - descriptors_before;
  for (const std::string& violation : outcome.violations) std::printf("  %s\n", violation.c_str());
  if (descriptors != 0) std::printf("  leaves %d descriptors behind\n", descriptors);
  std::printf("sim: 1 h of churn, %llu calls, %lld bytes left\n", static_cast<unsigned long long>(outcome.calls),
              static_cast<long long>(bytes));
  return outcome.violations.empty() && bytes == 0 && descriptors == 0 ? 0 : 1;
}

// ---- the command line

bool parse_number(const char* word, uint64_t* number) {
  char* end = nullptr;
  *number = word == nullptr ? 0 : std::strtoull(word, &end, 10);
  return end != nullptr && end != word && *end == '\0';
}

// Words end with a null, as main gets them.
bool parse(char** words, Options* options) {
  std::vector<uint64_t*> bare = {&options->start, &options->seeds};  // taken from the back
  for (; *words != nullptr; words++) {
    std::string_view word = *words;
    if (word == "--verbose") {
      options->verbose = true;
    } else if (word == "--churn") {
      options->churn = true;
    } else if (word == "--seeds" || word == "--start") {
      if (!parse_number(*++words, word == "--seeds" ? &options->seeds : &options->start)) return false;
    } else {
      if (bare.empty() || !parse_number(*words, bare.back())) return false;
      bare.pop_back();
    }
  }
  return true;
}

}  // namespace

}  // namespace nebula::sim

int main(int, char** words) {
  nebula::sim::Options options;
  options.program = words[0];
  if (!nebula::sim::parse(words + 1, &options)) {
    std::fprintf(stderr, "usage: sim [seeds [start]] [--seeds N] [--start S] [--verbose] | sim --churn\n");
    return 2;
  }
  static char output[4096];  // not from the heap, which is counted
  std::setvbuf(stdout, output, _IOLBF, sizeof output);
  nebula::sim::catch_crashes();
  return options.churn ? nebula::sim::churn() : nebula::sim::run_seeds(options);
}
