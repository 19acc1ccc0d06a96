// loop/uv_loop.h - the real loop: libuv's epoll, driven turn by turn by whoever holds it.
//
// Its descriptor may stand in a foreign epoll, level or edge (mechanics.md 2), so nothing may wait in the loop unseen:
// timers are our own heap behind one timerfd, posts come through an eventfd, and a turn does not end before libuv has
// registered what was started in it.
#pragma once

#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "loop/loop.h"
#include "loop/mailbox.h"
#include "loop/timers.h"
#include "loop/uv_poll.h"

struct uv_loop_s;

namespace nebula {

// The clock of every UvLoop, for threads that are on none.
Time monotonic_now();

class UvLoop final : public DrivenLoop {
 public:
  static Result<std::unique_ptr<UvLoop>> make();
  ~UvLoop() override;  // not inside a turn; what was made on the loop is gone by then, but for timers and functions

  Time now() const override;
  std::unique_ptr<Timer> after(Duration wait, Fn<void()> then) override;
  void later(Fn<void()> then) override;
  void post(Fn<void()> then) override;
  std::unique_ptr<FdWatch> watch(int fd, Fn<void()> readable) override;
  UvLoop* uv() override { return this; }

  int fd() override;
  void run_once(Duration wait_max) override;

  // A turn without waiting, by a thread that stands in for the one that runs this loop.
  void run_unattended();
  bool is_unattended() const { return is_unattended_; }

  // Leaves fd() readable: there is more to do than this turn did, or events that nobody has taken. Whoever runs the
  // loop calls it, inside a turn or after.
  void raise();

  // Whether fd() is readable for something that no turn can do, only the one who usually runs this loop.
  void show(bool on);

  // Where sockets read into: limits::read_buffer_bytes that nobody else holds. Null: no memory.
  Block* read_block();

  uv_loop_s* handle();

 private:
  friend UvPoll;
  struct Uv;

  UvLoop(std::unique_ptr<Uv> uv, std::unique_ptr<Mailbox> mailbox, EventFd shown_fd, Fd timer_fd);
  Status watch_own();
  bool begin();
  void woke();     // the wait of this turn is over, if there was one
  void touched();  // libuv has something to do that its descriptor does not show
  void wait(Duration wait_max);
  void run_posted();
  void run_timers();
  void run_later();
  void run_all();
  void settle();
  void arm();

  std::unique_ptr<Uv> uv_;
  std::unique_ptr<Mailbox> mailbox_;
  EventFd shown_fd_;
  Fd timer_fd_;
  std::unique_ptr<UvPoll> mailbox_poll_;
  std::unique_ptr<UvPoll> shown_poll_;
  std::unique_ptr<UvPoll> timer_poll_;

  Timers timers_;
  uint64_t timers_made_ = 0;
  uint64_t timers_before_ = 0;  // timers_made_ when this turn began
  Time armed_ = Time::never();  // when timer_fd_ will fire

  std::vector<Fn<void()>> later_;
  std::vector<Fn<void()>> running_;  // kept for its memory
  Block* read_block_ = nullptr;
  Time turn_began_;
  bool in_turn_ = false;
  bool is_waiting_ = false;
  bool is_unattended_ = false;
  bool is_shown_ = false;
  bool must_return_ = false;  // raise was called in this turn
  int poll_count_ = 0;
};

}  // namespace nebula
