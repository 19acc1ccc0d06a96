// loop/loop_thread.cc - start, turn until told to end, join.
#include "loop/loop_thread.h"

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
  NEBULA_ASSERT(!pthread_equal(pthread_self(), thread_));
  struct {
    std::mutex lock;
    std::condition_variable changed;
    bool done = false;
  } state;
  loop_->post([&state, &work] {
    work();
    // Told under the lock: the waiting thread destroys the state as soon as it sees it done.
    std::lock_guard<std::mutex> hold(state.lock);
    state.done = true;
    state.changed.notify_one();
  });
  std::unique_lock<std::mutex> hold(state.lock);
  state.changed.wait(hold, [&state] { return state.done; });
}

}  // namespace nebula
