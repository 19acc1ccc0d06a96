// faults/load.cc - calls and long streams by nebula.hpp, a line for each that has ended: tests/faults/README.md.
//
// usage: faults_load <name> <log> <calls a second> <streams> <timeout in ms>    until the end of standard input
//
// Open loop: a call begins when it is due, whatever has become of those before. A negative rate is a closed loop of so
// many calls at a time, which finds out what there is to be had.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

#include <nebula.hpp>

namespace {

using namespace std::chrono;

// What is in the column of codes of a call that was answered with something else than it asked for.
constexpr int wrong_answer = -1;

constexpr int64_t pause_us = 10'000;

struct Outcome {
  int code = 0;
  const char* fate = "-";
  std::string instance = "-";
};

const char* name_of(nebula::Fate fate) {
  switch (fate) {
    case nebula::Fate::unsent: return "unsent";
    case nebula::Fate::unprocessed: return "unprocessed";
    case nebula::Fate::unknown: return "unknown";
    case nebula::Fate::processed: return "processed";
  }
  return "-";
}

Outcome failure(const nebula::Error& error) { return {error.code(), name_of(error.fate()), "-"}; }

// Messages are JSON, without anything that is to be escaped: {"key":"c1-7"} is answered by "s1 c1-7", and by a stream of
// "s1 c1-7 0", "s1 c1-7 1" and so on.
std::string request_of(const std::string& key) { return "{\"key\":\"" + key + "\"}"; }

Outcome read_answer(const std::string& json, const std::string& rest) {
  std::string answer = json.size() < 2 ? "" : json.substr(1, json.size() - 2);
  size_t space = answer.find(' ');
  if (space == std::string::npos || answer.substr(space + 1) != rest) return {wrong_answer, "-", "-"};
  return {0, "-", answer.substr(0, space)};
}

class Load {
 public:
  Load(std::string name, const char* log, int timeout_ms)
      : name_(std::move(name)), log_(std::fopen(log, "w")), timeout_(timeout_ms) {}

  void run(int rate, int streams) {
    std::vector<std::thread> threads;
    for (int i = 0; i < streams; i++) threads.emplace_back([this, i] { follow(i); });
    threads.emplace_back([this, rate] { rate < 0 ? fill(-rate) : pace(rate); });
    std::cout << "ready" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {}
    is_ending_ = true;
    for (std::thread& thread : threads) thread.join();
    std::unique_lock<std::mutex> hold(lock_);
    none_open_.wait(hold, [this] { return open_ == 0; });
    std::fclose(log_);
  }

 private:
  // The clock that all programs of a run share, in microseconds.
  static int64_t now_us() { return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count(); }

  void pace(int rate) {
    steady_clock::time_point begin = steady_clock::now();
    for (int64_t i = 0; !is_ending_; i++) {
      sleep_until(begin + nanoseconds(i * 1'000'000'000 / rate));
      begin_call({});
    }
  }

  // What a thread that does nothing oversleeps is not the engine's: the machine had no time for this process.
  void sleep_until(steady_clock::time_point due) {
    bool is_early = steady_clock::now() < due;
    std::this_thread::sleep_until(due);
    int64_t late_us = (steady_clock::now() - due) / 1us;
    if (is_early && late_us > pause_us) note('p', "-", now_us() - late_us, {});
  }

  void fill(int at_once) {
    for (int i = 0; i < at_once; i++) begin_call([this] { return !is_ending_.load(); });
  }

  void begin_call(std::function<bool()> goes_on) {
    int64_t number = number_++;
    char kind = number % 2 == 0 ? 'i' : 'n';
    std::string key = name_ + "-" + std::to_string(number);
    nebula::CallOptions options{timeout_};
    if (kind == 'i') options.idempotent();
    {
      std::lock_guard<std::mutex> hold(lock_);
      open_++;
    }
    int64_t began = now_us();
    auto done = [=, this](nebula::Future<std::string> answered) {
      Outcome outcome;
      try {
        outcome = read_answer(answered.get(), key);
      } catch (const nebula::Error& error) {
        outcome = failure(error);
      }
      note(kind, key, began, outcome);
      if (goes_on && goes_on()) begin_call(goes_on);
      std::lock_guard<std::mutex> hold(lock_);
      if (--open_ == 0) none_open_.notify_all();
    };
    channel_.start("/faults/work", request_of(key), options, done);
  }

  // One stream after the other.
  void follow(int place) {
    for (int i = 0; !is_ending_; i++) {
      std::string key = name_ + "-s" + std::to_string(place) + "-" + std::to_string(i);
      int64_t began = now_us();
      Outcome outcome = follow_one(key);
      note('s', key, began, outcome);
      if (outcome.code != 0) std::this_thread::sleep_for(100ms);
    }
  }

  Outcome follow_one(const std::string& key) try {
    auto stream = channel_.server_stream("/faults/tail", request_of(key));
    Outcome outcome;
    int index = 0;
    while (std::optional<std::string> answer = stream.read()) {
      outcome = read_answer(*answer, key + " " + std::to_string(index++));
      if (outcome.code != 0) break;
    }
    return outcome;
  } catch (const nebula::Error& error) {
    return failure(error);
  }

  void note(char kind, const std::string& key, int64_t began, const Outcome& outcome) {
    std::fprintf(log_, "%c %s %lld %lld %d %s %s\n", kind, key.c_str(), static_cast<long long>(began),
                 static_cast<long long>(now_us() - began), outcome.code, outcome.fate, outcome.instance.c_str());
  }

  const std::string name_;
  std::FILE* const log_;
  const milliseconds timeout_;
  nebula::Channel channel_;
  std::atomic<int64_t> number_{0};
  std::atomic<bool> is_ending_{false};
  std::mutex lock_;
  std::condition_variable none_open_;
  int open_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: faults_load <name> <log> <calls a second> <streams> <timeout in ms>\n";
    return 2;
  }
  Load(argv[1], argv[2], std::atoi(argv[5])).run(std::atoi(argv[3]), std::atoi(argv[4]));
}
