// capi/io_thread.cc - started with the first threaded queue, ended with the engine.
#include "io_thread.h"

#include <sched.h>

#include <algorithm>

namespace nebula {

namespace {

constexpr size_t io_threads_default_max = 4;

// Cores that this process may run on.
size_t cores() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<size_t>(CPU_COUNT(&set)) : 1;
}

}  // namespace

Result<std::unique_ptr<IoThread>> IoThread::start(nebula_engine& engine) {
  TRY(std::unique_ptr<LoopThread> started, LoopThread::start("nebula-io"));
  std::unique_ptr<IoThread> thread(new IoThread(std::move(started)));
  IoThread* self = thread.get();
  self->thread_->run_sync([self, &engine] {
    self->worker_ = std::make_unique<Worker>(*engine.engine, *self->thread_->loop().uv());
    self->calls_ = std::make_unique<Calls>(engine, *self->worker_, *self);
  });
  self->thread_->at_end([self] {
    self->calls_.reset();
    self->worker_.reset();
  });
  return thread;
}

IoThread::~IoThread() { thread_.reset(); }

bool IoThread::perform_until(Fn<void(Fn<void()> tell)> work, Duration wait_max) {
  return thread_->run_until(std::move(work), wait_max);
}

Result<Calls*> next_io_thread(nebula_engine& engine) {
  std::lock_guard<std::mutex> hold(engine.io_lock);
  if (engine.io_threads.empty()) {
    size_t count = engine.io_threads_wanted != 0 ? engine.io_threads_wanted : std::min(cores(), io_threads_default_max);
    std::vector<std::unique_ptr<IoThread>> threads;
    for (size_t i = 0; i < count; i++) {
      TRY(std::unique_ptr<IoThread> thread, IoThread::start(engine));
      threads.push_back(std::move(thread));
    }
    engine.io_threads = std::move(threads);
  }
  return &engine.io_threads[engine.io_next++ % engine.io_threads.size()]->calls();
}

std::vector<Calls*> io_calls(nebula_engine& engine) {
  std::lock_guard<std::mutex> hold(engine.io_lock);
  std::vector<Calls*> all;
  for (const std::unique_ptr<IoThread>& thread : engine.io_threads) all.push_back(&thread->calls());
  return all;
}

}  // namespace nebula
