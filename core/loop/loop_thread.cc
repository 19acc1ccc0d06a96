// loop/loop_thread.cc - start, turn until told to end, join.
#include "loop/loop_thread.h"

#include <csignal>

#include <condition_variable>
#include <mutex>

namespace nebula {

Result<std::unique_ptr<LoopThread>> LoopThread::start(const std::string& name) {
  TRY(std::unique_ptr<UvLoop> loop, UvLoop::make());
  std::unique_ptr<LoopThread> thread(new LoopThread(std::move(loop)));
  // The mask is inherited; so there is no moment at which the new thread could be given a signal.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread->thread_, nullptr, [](void* self) -> void* {
    static_cast<LoopThread*>(self)->run();
    return nullptr;
  }, thread.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  thread->has_started_ = error == 0;
  if (error != 0) return system_error("start the thread " + name, error);
  pthread_setname_np(thread->thread_, name.substr(0, 15).c_str());
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
