// bench/processes.h - a benchmark whose parts are processes: this program again, each with a role.
//
// What a part saw it reports through a pipe, with CLOCK_MONOTONIC's time, which all processes share.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

namespace nebula::bench {

inline constexpr int report_fd = 3;  // where a part writes what it saw
inline constexpr int end_fd = 4;     // closed by us: it should end

// Small enough that pipes keep it in one piece.
struct Report {
  int32_t kind;  // the benchmark's own
  int32_t round;
  int64_t value;  // nanoseconds, where it is a time
};

inline int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

inline void report(int32_t kind, int32_t round, int64_t value) {
  Report report{kind, round, value};
  if (write(report_fd, &report, sizeof report) != sizeof report) _exit(1);
}

// False: nothing was said for so long.
inline bool next_report(int reports, int patience_ms, Report* out) {
  pollfd ready{reports, POLLIN, 0};
  return poll(&ready, 1, patience_ms) == 1 && read(reports, out, sizeof *out) == sizeof *out;
}

class Part {
 public:
  Part(int reports, std::vector<std::string> arguments) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) abort();
    arguments.insert(arguments.begin(), "bench");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      // Copies above the two numbers first: neither must overwrite the other.
      int from_reports = fcntl(reports, F_DUPFD, 10), from_end = fcntl(ends[0], F_DUPFD, 10);
      dup2(from_reports, report_fd);
      dup2(from_end, end_fd);
      close(from_reports);
      close(from_end);
      execv("/proc/self/exe", pointers.data());
      _exit(127);
    }
    close(ends[0]);
    end_ = ends[1];
  }
  Part(const Part&) = delete;
  ~Part() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    if (end_ >= 0) close(end_);  // its child ends by this
  }

  int64_t crash() {
    int64_t now = now_ns();
    kill(pid_, SIGKILL);
    return now;
  }

  // Tells it to end.
  int64_t end_soon() {
    int64_t now = now_ns();
    close(std::exchange(end_, -1));
    return now;
  }

 private:
  pid_t pid_;
  int end_;
};

struct Times {
  std::vector<double> ms;
  void add(int64_t from_ns, int64_t to_ns) { ms.push_back(static_cast<double>(to_ns - from_ns) / 1e6); }
  void sort() { std::sort(ms.begin(), ms.end()); }
  // Once sorted.
  double at(size_t per_hundred) const { return ms[std::min(ms.size() - 1, ms.size() * per_hundred / 100)]; }
};

}  // namespace nebula::bench
