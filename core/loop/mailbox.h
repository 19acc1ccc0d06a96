// loop/mailbox.h - many writers, one reader.
//
// The reader says when it runs (enter) and when it is about to sleep (leave). A writer makes a system call only when
// the reader sleeps. uv_async would do nearly the same, but its first step is a plain read that the processor may do too
// early: it was seen to lose a wake-up in 4 of 18 million.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/fn.h"
#include "base/result.h"
#include "loop/event_fd.h"

namespace nebula {

class Mailbox {
 public:
  static Result<std::unique_ptr<Mailbox>> make();

  // Any thread.
  void push(Fn<void()> item);
  void raise();  // wakes the reader without an item

  // The reader. Between enter and a leave that says true no writer makes the descriptor readable.
  bool enter();  // true: it was raised
  void take(std::vector<Fn<void()>>& into);  // all that is there, in order for each writer; `into` comes empty
  bool leave();                    // false: something came since enter; enter again, or leave_raised
  void leave_raised();             // leaves with the descriptor readable

  int fd() const { return fd_.get(); }  // readable when the reader should come
  void clear() { fd_.clear(); }         // makes it unreadable, once the reader has come

 private:
  enum Word { idle, running, raised };

  explicit Mailbox(EventFd fd) : fd_(std::move(fd)) {}

  EventFd fd_;
  std::atomic<int> word_{idle};
  std::mutex lock_;
  std::vector<Fn<void()>> items_;
};

}  // namespace nebula
