// loop/loop_thread.cc - start, turn until told to end, join.
#include "loop/loop_thread.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "loop/thread.h"

namespace nebula {

Result<std::unique_ptr<LoopThread>> LoopThread::start(const std::string& name) {
  TRY(std::unique_ptr<UvLoop> loop, UvLoop::make());
  std::unique_ptr<LoopThread> thread(new LoopThread(std::move(loop)));
  auto body = [](void* self) { static_cast<LoopThread*>(self)->run(); };
  if (Status status = start_thread(name.c_str(), body, thread.get(), &thread->thread_); !status.ok()) return status;
  thread->has_started_ = true;
  return thread;
}

LoopThread::~LoopThread() {
  if (generation_ != fork_generation()) {
    // In a fork child the thread does not exist; what it was working on is left as it is.
    static_cast<void>(loop_.release());
    return;
  }
  if (!has_started_) return;
  loop_->post([this] {
    if (clean_up_) std::exchange(clean_up_, {})();
    has_ended_ = true;
  });
  pthread_join(thread_, nullptr);
}

void LoopThread::run() {
  while (!has_ended_) loop_->run_once(nanos(-1));
}

void LoopThread::run_sync(Fn<void()> work) {
  run_until([work = std::move(work)](Fn<void()> tell) mutable {
    work();
    tell();
  }, nanos(-1));
}

bool LoopThread::run_until(Fn<void(Fn<void()> tell)> work, Duration wait_max) {
  NEBULA_ASSERT(!pthread_equal(pthread_self(), thread_));
  struct State {
    std::mutex lock;
    std::condition_variable changed;
    bool is_told = false;
  };
  std::shared_ptr<State> state = std::make_shared<State>();
  loop_->post([state, work = std::move(work)]() mutable {
    work([state] {
      std::lock_guard<std::mutex> hold(state->lock);
      state->is_told = true;
      state->changed.notify_one();
    });
  });
  std::unique_lock<std::mutex> hold(state->lock);
  auto is_told = [&state] { return state->is_told; };
  if (wait_max >= Duration()) return state->changed.wait_for(hold, std::chrono::nanoseconds(wait_max.ns), is_told);
  state->changed.wait(hold, is_told);
  return true;
}

}  // namespace nebula
