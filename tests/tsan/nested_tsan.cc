// tests/tsan/nested_tsan.cc - calls of several threads that are made for one and the same call, while that ends.
//
// One thread polls a server. Others, each with a queue of its own, call it for each call that comes in, so that they share its
// retries; whoever is first ends it, and the others may find it gone. Bounded in count; returns 0 if all calls ended.
#include <atomic>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "nebula.h"

namespace {

constexpr int workers_count = 3;
constexpr int calls_count = 300;
constexpr int in_flight = 16;
enum : uint64_t { outer_tag = 1, inner_tag = 2 };

std::atomic<bool> wrong{false};

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "nested_tsan: %s\n", what);
  wrong = true;
}

nebula_queue* new_queue(nebula_engine* engine, uint32_t mode) {
  nebula_queue_options options{};
  options.size = sizeof options;
  options.mode = mode;
  return nebula_queue_new(engine, &options, nullptr);
}

// Calls "/test.Nest/Inner" for each call that it is told of.
class Worker {
 public:
  Worker(nebula_engine* engine, nebula_channel* channel, uint32_t mode)
      : queue_(new_queue(engine, mode)),
        method_(nebula_channel_method(channel, "/test.Nest/Inner", NEBULA_UNARY)),
        thread_([this] { nebula_run(queue_, hand_over, this); }) {}
  ~Worker() {
    is_over_ = true;
    nebula_wake(queue_, 0);
    thread_.join();
    nebula_queue_free(queue_);
  }

  void put(uint64_t parent) {
    {
      std::lock_guard<std::mutex> hold(lock_);
      parents_.push_back(parent);
    }
    nebula_wake(queue_, 0);
  }

 private:
  static int32_t hand_over(void* self, const nebula_event* event) { return static_cast<Worker*>(self)->on_event(*event); }

  int32_t on_event(const nebula_event& event) {
    if (event.kind == NEBULA_EV_FINISHED) {
      int32_t ended = nebula_call_finish(event.tag, NEBULA_UNAVAILABLE, "nor here", nullptr, 0);
      expect(ended == 0 || ended == NEBULA_E_STALE, "finish");
    }
    std::lock_guard<std::mutex> hold(lock_);
    for (; !parents_.empty(); parents_.pop_front())
      expect(nebula_call_start_under(queue_, method_, parents_.front(), 0, nullptr, 0, "x", 1, NEBULA_END | NEBULA_IDEMPOTENT,
                                     parents_.front()) != 0, "start");
    return is_over_ ? 1 : 0;
  }

  nebula_queue* queue_;
  const uint64_t method_;
  std::atomic<bool> is_over_{false};
  std::mutex lock_;
  std::deque<uint64_t> parents_;
  std::thread thread_;
};

struct Serving {
  std::vector<std::unique_ptr<Worker>> workers;
};

int32_t serve(void* context, const nebula_event* event) {
  if (event->kind == NEBULA_EV_CALL && event->tag == outer_tag)
    for (const auto& worker : static_cast<Serving*>(context)->workers) worker->put(event->call);
  else if (event->kind == NEBULA_EV_CALL)
    expect(nebula_call_finish(event->call, NEBULA_UNAVAILABLE, "not now", nullptr, 0) == 0, "finish");
  return event->kind == NEBULA_EV_WAKE;
}

void nest(uint32_t mode) {
  nebula_engine_options options{sizeof options, 0, "mem:", 0};
  nebula_engine* engine = nebula_engine_new(&options, nullptr);
  nebula_queue *served = new_queue(engine, mode), *calling = new_queue(engine, mode);
  nebula_server* server = nebula_server_new(engine, nullptr, nullptr);
  expect(nebula_server_method(server, "/test.Nest/Outer", NEBULA_UNARY, outer_tag) == 0, "method");
  expect(nebula_server_method(server, "/test.Nest/Inner", NEBULA_UNARY, inner_tag) == 0, "method");
  expect(nebula_server_listen(server, "mem:nest", nullptr, nullptr) == 0, "listen");
  expect(nebula_server_start(server, &served, 1, nullptr) == 0, "start");
  nebula_channel_options eager{};
  eager.size = sizeof eager;
  eager.policy = "retry:?first=100us&budget=1";
  nebula_channel* channel = nebula_channel_new(engine, "mem:nest", &eager, nullptr);
  Serving serving;
  for (int i = 0; i < workers_count; i++) serving.workers.push_back(std::make_unique<Worker>(engine, channel, mode));
  std::thread poller([&] { nebula_run(served, serve, &serving); });

  uint64_t method = nebula_channel_method(channel, "/test.Nest/Outer", NEBULA_UNARY);
  for (int started = 0, ended = 0; ended < calls_count;) {
    for (; started < calls_count && started - ended < in_flight; started++)
      expect(nebula_call_start(calling, method, 0, 0, nullptr, 0, "x", 1, NEBULA_END | NEBULA_IDEMPOTENT) != 0, "start");
    int32_t count = nebula_poll(calling, 10'000);
    expect(count > 0, "poll");
    if (count <= 0) break;
    for (int32_t i = 0; i < count; i++) {
      const nebula_event& event = nebula_queue_events(calling)[i];
      ended += event.kind == NEBULA_EV_FINISHED;
      expect(event.status == NEBULA_UNAVAILABLE, "status");
    }
  }
  nebula_wake(served, 0);
  poller.join();
  serving.workers.clear();
  nebula_channel_free(channel);
  nebula_server_free(server);
  nebula_queue_free(served);
  nebula_queue_free(calling);
  nebula_engine_free(engine);
  std::printf("nested_tsan: %d calls on %s queues, %s\n", calls_count,
              mode == NEBULA_QUEUE_INLINE ? "inline" : "threaded", wrong ? "WRONG" : "ok");
}

}  // namespace

int main() {
  for (uint32_t mode : {NEBULA_QUEUE_INLINE, NEBULA_QUEUE_THREADED}) nest(mode);
  return wrong ? 1 : 0;
}
