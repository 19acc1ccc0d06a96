// loop/uv_loop.cc - turns over libuv.
//
// Never used here: uv_stop (a later run does nothing), uv_signal, uv_spawn, idle, prepare and check handles (they keep
// the loop busy), uv_loop_fork, and uv_timers but for the length of one wait (they do not show in the descriptor).
#include "loop/uv_loop.h"

#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/limits.h"

namespace nebula {

namespace {

// Posts that come while a turn runs are taken by the same turn so many times; then others get theirs.
constexpr int rounds_max = 4;
// Runs that libuv gets to register what was started; more would only serve a callback that starts things for ever.
constexpr int settle_runs_max = 4;

}  // namespace

Time monotonic_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return {time.tv_sec * 1000000000 + time.tv_nsec};
}

struct UvLoop::Uv {
  uv_loop_t loop;
  uv_timer_t wait_timer;
  uint64_t generation = fork_generation();
};

Result<std::unique_ptr<UvLoop>> UvLoop::make() {
  TRY(std::unique_ptr<Mailbox> mailbox, Mailbox::make());
  TRY(EventFd shown_fd, EventFd::make());
  Fd timer_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer_fd) return system_error("loop: timerfd", errno);
  std::unique_ptr<Uv> uv = std::make_unique<Uv>();
  if (int error = uv_loop_init(&uv->loop); error != 0) return system_error("loop: epoll", -error);
  uv_timer_init(&uv->loop, &uv->wait_timer);
  close_in_child(uv_backend_fd(&uv->loop));
  std::unique_ptr<UvLoop> loop(
      new UvLoop(std::move(uv), std::move(mailbox), std::move(shown_fd), std::move(timer_fd)));
  if (Status status = loop->watch_own(); !status.ok()) return status;
  loop->run_once({});  // from now on its descriptor tells the truth
  return loop;
}

UvLoop::UvLoop(std::unique_ptr<Uv> uv, std::unique_ptr<Mailbox> mailbox, EventFd shown_fd, Fd timer_fd)
    : uv_(std::move(uv)),
      mailbox_(std::move(mailbox)),
      shown_fd_(std::move(shown_fd)),
      timer_fd_(std::move(timer_fd)),
      turn_began_(monotonic_now()) {}

// The loop is never without an active handle from here on: libuv would take it for finished and never sleep.
Status UvLoop::watch_own() {
  TRY(mailbox_poll_, UvPoll::make(*this, mailbox_->fd(), [this](bool, bool) { mailbox_->clear(); }));
  TRY(shown_poll_, UvPoll::make(*this, shown_fd_.get(), [](bool, bool) {}));
  TRY(timer_poll_, UvPoll::make(*this, timer_fd_.get(), [this](bool, bool) {
    uint64_t count = 0;
    if (::read(timer_fd_.get(), &count, sizeof count) == sizeof count) armed_ = Time::never();
  }));
  mailbox_poll_->want(true, false);
  shown_poll_->want(true, false);
  timer_poll_->want(true, false);
  return {};
}

UvLoop::~UvLoop() {
  NEBULA_ASSERT(!in_turn_);
  if (uv_->generation != fork_generation()) {
    // A fork child has closed the descriptors by number; libuv's view of them belongs to the parent.
    mailbox_poll_.release();
    shown_poll_.release();
    timer_poll_.release();
    uv_.release();
    return;
  }
  // A dropped function may answer a Done that asks for another, so until none is left.
  std::vector<Fn<void()>> dropped;
  do {
    dropped.clear();
    mailbox_->take(dropped);
    for (Fn<void()>& function : later_) dropped.push_back(std::move(function));
    later_.clear();
  } while (!dropped.empty());
  mailbox_poll_.reset();
  shown_poll_.reset();
  timer_poll_.reset();
  NEBULA_ASSERT(poll_count_ == 0);
  uv_close(reinterpret_cast<uv_handle_t*>(&uv_->wait_timer), nullptr);
  keep_in_child(uv_backend_fd(&uv_->loop));
  // Waits for a name that is still being looked up: the thread pool writes into memory of the loop.
  while (uv_loop_close(&uv_->loop) == UV_EBUSY) uv_run(&uv_->loop, UV_RUN_ONCE);
  if (read_block_ != nullptr) read_block_->unref();
}

// Between turns nobody relies on its standing still, and after a long pause a deadline made with it would be past.
Time UvLoop::now() const { return in_turn_ ? turn_began_ : monotonic_now(); }

std::unique_ptr<Timer> UvLoop::after(Duration wait, Fn<void()> then) {
  std::unique_ptr<Timer> timer = timers_.add(now() + std::max(wait, Duration{}), timers_made_++, std::move(then));
  if (!in_turn_) arm();
  return timer;
}

void UvLoop::later(Fn<void()> then) {
  later_.push_back(std::move(then));
  touched();
}

void UvLoop::post(Fn<void()> then) { mailbox_->push(std::move(then)); }

std::unique_ptr<FdWatch> UvLoop::watch(int fd, Fn<void()> readable) {
  Result<std::unique_ptr<UvPoll>> poll =
      UvPoll::make(*this, fd, [readable = std::move(readable)](bool, bool) mutable { readable(); });
  NEBULA_ASSERT(poll.ok());
  (*poll)->want(true, false);
  return std::move(*poll);
}

int UvLoop::fd() { return uv_backend_fd(&uv_->loop); }

uv_loop_s* UvLoop::handle() { return &uv_->loop; }

void UvLoop::run_once(Duration wait_max) {
  NEBULA_ASSERT(!in_turn_);
  in_turn_ = true;
  // Who raised the loop has something for it, or for its caller; so nothing is waited for.
  bool has_work = begin();
  run_posted();
  run_later();
  has_work = has_work || must_return_ || timers_.earliest() <= turn_began_;
  if (wait_max != Duration{} && !has_work && mailbox_->leave()) {
    wait(wait_max);
  } else {
    uv_run(&uv_->loop, UV_RUN_NOWAIT);
  }
  run_posted();
  run_timers();
  for (int round = 1;; round++) {
    run_later();
    settle();
    if (!must_return_ && mailbox_->leave()) break;
    if (must_return_ || round == rounds_max) {
      mailbox_->leave_raised();
      break;
    }
    mailbox_->enter();
    run_posted();
  }
  must_return_ = false;
  arm();
  in_turn_ = false;
}

void UvLoop::run_unattended() {
  is_unattended_ = true;
  run_once({});
  is_unattended_ = false;
}

// One wait: a poller that was asked to wait wants to see the first thing that happens.
void UvLoop::wait(Duration wait_max) {
  arm();
  is_waiting_ = true;
  if (wait_max > Duration{}) {
    uv_update_time(&uv_->loop);
    uint64_t wait_ms = static_cast<uint64_t>((wait_max + nanos(999999)).ms());
    uv_timer_start(&uv_->wait_timer, [](uv_timer_t*) {}, wait_ms, 0);
  }
  uv_run(&uv_->loop, UV_RUN_ONCE);
  uv_timer_stop(&uv_->wait_timer);
  woke();
}

// The first callback after the wait comes here before it does anything, so that it sees the new time.
void UvLoop::woke() {
  if (!is_waiting_) return;
  is_waiting_ = false;
  begin();
}

// True: the loop was raised.
bool UvLoop::begin() {
  bool was_raised = mailbox_->enter();
  if (was_raised) mailbox_->clear();
  turn_began_ = monotonic_now();
  timers_before_ = timers_made_;
  return was_raised;
}

void UvLoop::touched() {
  if (!in_turn_) mailbox_->raise();
}

void UvLoop::raise() {
  if (in_turn_) {
    must_return_ = true;
  } else {
    mailbox_->raise();
  }
}

void UvLoop::show(bool on) {
  if (on == std::exchange(is_shown_, on)) return;
  if (on) {
    shown_fd_.signal();
  } else {
    shown_fd_.clear();
  }
}

void UvLoop::run_posted() {
  mailbox_->take(running_);
  run_all();
}

// Not those of this turn: one that is started with no wait, by itself perhaps, is for a turn to come.
void UvLoop::run_timers() {
  while (timers_.earliest() <= turn_began_ && timers_.earliest_tie() < timers_before_) timers_.take_earliest()();
}

void UvLoop::run_later() {
  while (!later_.empty()) {
    running_.swap(later_);
    run_all();
  }
}

// A function is destroyed before the next one runs, as if it had never been in a list.
void UvLoop::run_all() {
  for (Fn<void()>& function : running_) std::exchange(function, {})();
  running_.clear();
}

// What was started or closed in this turn reaches epoll only by another run.
void UvLoop::settle() {
  for (int runs = 0; runs < settle_runs_max && uv_backend_timeout(&uv_->loop) == 0; runs++) {
    uv_run(&uv_->loop, UV_RUN_NOWAIT);
    run_later();
  }
  if (uv_backend_timeout(&uv_->loop) == 0) raise();
}

// A later earliest is not worth a system call: the descriptor fires once in vain, and is set anew then.
void UvLoop::arm() {
  Time earliest = timers_.earliest();
  if (earliest >= armed_) return;
  armed_ = earliest;
  itimerspec spec{};
  spec.it_value.tv_sec = earliest.ns / 1000000000;
  spec.it_value.tv_nsec = earliest.ns % 1000000000;
  ::timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

Block* UvLoop::read_block() {
  if (read_block_ != nullptr && read_block_->is_shared()) {
    read_block_->unref();
    read_block_ = nullptr;
  }
  if (read_block_ == nullptr) read_block_ = Block::make(limits::read_buffer_bytes);
  return read_block_;
}

}  // namespace nebula
