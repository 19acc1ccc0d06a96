// bindings/cpp/nebula/engine.hpp - an engine, its queue, and the thread that polls it.
#ifndef NEBULA_CPP_ENGINE_HPP
#define NEBULA_CPP_ENGINE_HPP

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>

#include "error.hpp"

namespace nebula {
inline namespace v1 {

struct EngineOptions {
  // Threads of the engine read, write and encrypt; its own only takes what they bring, and runs callbacks. It pays with
  // TLS or large messages where one thread is not enough.
  bool threaded = false;
  uint32_t io_threads = 0;  // of those; 0: one for each core, 4 at most
};

namespace detail {

// Whoever waits for events: every tag that we give to the ABI is one of these.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual void on_event(const nebula_event& event) = 0;  // on the engine's thread

  uint64_t tag() { return reinterpret_cast<uintptr_t>(this); }
};

// Signals are for the threads of the program: ours block them all, so that Server::run can wait for them.
template <class Function>
std::thread spawn(Function function) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(function));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

class Loop final : public Receiver {
 public:
  static std::shared_ptr<Loop> make(const char* registry, const EngineOptions& options) {
    return {new Loop(registry, options), retire};
  }

  // The one of all who name none. It ends with the last of them, so nothing is left to static destructors.
  static std::shared_ptr<Loop> common() {
    static std::mutex lock;
    static std::weak_ptr<Loop> known;
    std::lock_guard<std::mutex> hold(lock);
    std::shared_ptr<Loop> loop = known.lock();
    if (loop == nullptr) known = loop = make(nullptr, {});
    return loop;
  }

  nebula_engine* engine() { return engine_; }
  nebula_queue* queue() { return queue_; }

  static bool is_this_thread_one() { return flag(); }
  static void check_may_block() {
    if (flag()) throw Error(NEBULA_FAILED_PRECONDITION, "this blocks, and would wait for the thread that it is on");
  }

  // Runs it between two polls, and waits for that: some functions of the ABI want the queue for themselves.
  void perform(std::function<void()> work) {
    if (thread_.get_id() == std::this_thread::get_id()) return work();
    std::packaged_task<void()> task(std::move(work));
    std::future<void> done = task.get_future();
    {
      std::lock_guard<std::mutex> hold(lock_);
      tasks_.push_back(std::move(task));
    }
    nebula_wake(queue_, tag());
    done.get();
  }

  // A loop ends when nothing is open: whoever has a tag in the queue is told his last event first.
  void open() { open_++; }
  void close() { open_--; }

 private:
  Loop(const char* registry, const EngineOptions& options) {
    nebula_error error{};
    nebula_engine_options of_engine{};
    of_engine.size = sizeof of_engine;
    of_engine.registry = registry;
    of_engine.io_threads = options.io_threads;
    nebula_queue_options of_queue{};
    of_queue.size = sizeof of_queue;
    of_queue.mode = options.threaded ? NEBULA_QUEUE_THREADED : NEBULA_QUEUE_INLINE;
    engine_ = nebula_engine_new(&of_engine, &error);
    if (engine_ != nullptr) queue_ = nebula_queue_new(engine_, &of_queue, &error);
    if (queue_ == nullptr) {
      nebula_engine_free(engine_);
      throw refusal(error);
    }
    thread_ = spawn([this] { run(); });
  }

  ~Loop() override {
    nebula_queue_free(queue_);
    nebula_engine_free(engine_);
  }

  // The last owner may be a callback, on our own thread; it cannot wait for itself.
  static void retire(Loop* loop) {
    if (loop->thread_.get_id() == std::this_thread::get_id()) {
      loop->is_orphan_ = true;
      loop->thread_.detach();
      loop->is_ending_ = true;
      return;
    }
    loop->is_ending_ = true;
    nebula_wake(loop->queue_, loop->tag());
    loop->thread_.join();
    delete loop;
  }

  void run() {
    flag() = true;
    while (!is_ending_ || open_ > 0) {
      int32_t count = nebula_poll(queue_, -1);
      if (count < 0) std::terminate();  // NEBULA_E_FORKED cannot be: threads do not survive a fork
      const nebula_event* events = nebula_queue_events(queue_);
      for (int32_t i = 0; i < count; i++) reinterpret_cast<Receiver*>(events[i].tag)->on_event(events[i]);
    }
    if (is_orphan_) delete this;
  }

  void on_event(const nebula_event&) override {
    std::vector<std::packaged_task<void()>> tasks;
    {
      std::lock_guard<std::mutex> hold(lock_);
      tasks.swap(tasks_);
    }
    for (std::packaged_task<void()>& task : tasks) task();
  }

  static bool& flag() {
    thread_local bool is_loop = false;
    return is_loop;
  }

  nebula_engine* engine_ = nullptr;
  nebula_queue* queue_ = nullptr;
  std::mutex lock_;
  std::vector<std::packaged_task<void()>> tasks_;
  std::atomic<int64_t> open_{0};
  std::atomic<bool> is_ending_{false};
  bool is_orphan_ = false;
  std::thread thread_;
};

// Waits for what the engine has counted. It owns itself until that comes.
class MetricsAnswer final : public Receiver {
 public:
  static std::future<std::string> ask(Loop& loop) {
    MetricsAnswer* answer = new MetricsAnswer(loop);
    std::future<std::string> json = answer->json_.get_future();
    loop.open();
    if (int32_t result = nebula_engine_metrics(loop.engine(), loop.queue(), answer->tag()); result < 0) {
      answer->end();
      check(result);
    }
    return json;
  }

 private:
  explicit MetricsAnswer(Loop& loop) : loop_(loop) {}

  void on_event(const nebula_event& event) override {
    json_.set_value(std::string(reinterpret_cast<const char*>(event.data), event.size));
    end();
  }
  void end() {
    loop_.close();
    delete this;
  }

  Loop& loop_;
  std::promise<std::string> json_;
};

}  // namespace detail

// An engine and its thread; copies are the same one. Channels and servers that name none share Engine::common(). A
// program that wants more threads for its I/O makes more engines, and gives each of them channels and servers; or it
// makes one that is threaded.
class Engine {
 public:
  // registry: "host:", "host:?dir=/x", "static:...", "mem:"; empty: $NEBULA_REGISTRY, else "host:".
  explicit Engine(const std::string& registry = {}, const EngineOptions& options = {})
      : loop_(detail::Loop::make(registry.empty() ? nullptr : registry.c_str(), options)) {}

  static Engine common() { return Engine(detail::Loop::common()); }

  // What it has counted, as JSON: {"metrics": ..., "channels": ...}; docs/metrics.md. Each of its threads is asked in its
  // turn, which takes 40 ms where nothing happens.
  std::future<std::string> metrics() const { return detail::MetricsAnswer::ask(*loop_); }

 private:
  friend class Channel;
  friend class Server;
  explicit Engine(std::shared_ptr<detail::Loop> loop) : loop_(std::move(loop)) {}

  std::shared_ptr<detail::Loop> loop_;
};

}  // namespace v1
}  // namespace nebula

#endif
