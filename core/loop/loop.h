// loop/loop.h - time and turns: what all of the engine runs on.
//
// A loop runs turns. In a turn it handles what is due, then what was put off with `later`. Every object of the engine
// belongs to one loop and is touched by whoever runs that loop at the moment, and by nobody else. Two kinds: UvLoop
// (real) and SimLoop (virtual time, seeded order).
#pragma once

#include <memory>

#include "base/fn.h"
#include "base/metrics.h"
#include "base/time.h"

namespace nebula {

class UvLoop;

// Destroying it cancels it, also from inside its own function.
class Timer {
 public:
  virtual ~Timer() = default;
};

// Destroying it ends the watch, also from inside its own function; the descriptor stays its owner's.
class FdWatch {
 public:
  virtual ~FdWatch() = default;
};

class Clock {
 public:
  virtual ~Clock() = default;

  // Stands still during one turn, so that code between two looks sees one world.
  virtual Time now() const = 0;

  // Runs `then` once, in a later turn, not before now() + wait.
  virtual std::unique_ptr<Timer> after(Duration wait, Fn<void()> then) = 0;
};

class Loop : public Clock {
 public:
  // Runs `then` at the end of this turn, in order; from the loop's own thread only.
  virtual void later(Fn<void()> then) = 0;

  // The only member that other threads may call. Runs `then` in a turn to come; what one thread posts keeps its order.
  // What is still waiting when the loop is destroyed is destroyed unrun.
  virtual void post(Fn<void()> then) = 0;

  // Calls `readable` in each turn in which fd has something to read.
  virtual std::unique_ptr<FdWatch> watch(int fd, Fn<void()> readable) = 0;

  // The real loop that this is, for transports over sockets; null in a simulation.
  virtual UvLoop* uv() { return nullptr; }

  // What is counted of all that runs on it.
  Metrics& metrics() { return metrics_; }

 private:
  Metrics metrics_;
};

// A loop that a foreign thread runs: an inline queue. One thread at a time.
class DrivenLoop : public Loop {
 public:
  // A descriptor that is readable whenever run_once would do something, timers included.
  virtual int fd() = 0;

  // One turn: waits for work at most `wait_max` (negative: without end), does what is there, returns.
  virtual void run_once(Duration wait_max) = 0;
};

}  // namespace nebula
