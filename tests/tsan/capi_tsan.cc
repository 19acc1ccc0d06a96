// tests/tsan/capi_tsan.cc - the C ABI across threads, as a plain program for ThreadSanitizer.
//
// A thread for each of a server's queues polls it, another answers the calls, several call over tcp:, tls: and mem:
// from queues of their own, one cancels what others have started. Bounded in count; returns 0 if every call ended once.
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kit/certs.h"
#include "nebula.h"

namespace {

constexpr int clients = 5;
constexpr int calls_each = 2000;
constexpr int in_flight = 32;

std::atomic<bool> wrong{false};

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "capi_tsan: %s\n", what);
  wrong = true;
}

uint32_t mode = NEBULA_QUEUE_INLINE;

nebula_queue* new_queue(nebula_engine* engine) {
  nebula_queue_options options{};
  options.size = sizeof options;
  options.mode = mode;
  return nebula_queue_new(engine, &options, nullptr);
}

// Calls on their way from the polling thread to the answering one.
struct Desk {
  std::mutex lock;
  std::condition_variable came;
  std::deque<uint64_t> calls;
  bool closed = false;

  void put(uint64_t call) {
    std::lock_guard<std::mutex> hold(lock);
    calls.push_back(call);
    came.notify_one();
  }

  void answer_all() {
    std::unique_lock<std::mutex> hold(lock);
    while (true) {
      came.wait(hold, [&] { return closed || !calls.empty(); });
      if (calls.empty()) return;
      uint64_t call = calls.front();
      calls.pop_front();
      hold.unlock();
      nebula_call_info info{};
      info.size = sizeof info;
      int32_t described = nebula_call_describe(call, &info);
      expect(described == 0 || described == NEBULA_E_STALE, "describe");
      int32_t sent = nebula_call_send(call, "answer", 6, NEBULA_END);
      expect(sent == 0 || sent == NEBULA_E_STALE, "send");
      hold.lock();
    }
  }
};

void serve(nebula_queue* queue, Desk* desk) {
  nebula_run(
      queue,
      [](void* context, const nebula_event* event) -> int32_t {
        if (event->kind == NEBULA_EV_CALL) static_cast<Desk*>(context)->put(event->call);
        return event->kind == NEBULA_EV_WAKE ? 1 : 0;
      },
      desk);
}

void call_many(nebula_engine* engine, const std::string& target, std::atomic<uint64_t>* victim) {
  nebula_queue* queue = new_queue(engine);
  nebula_channel* channel = nebula_channel_new(engine, target.c_str(), nullptr, nullptr);
  uint64_t method = nebula_channel_method(channel, "/test.Desk/Ask", NEBULA_UNARY);
  int started = 0, ended = 0;
  while (ended < calls_each) {
    while (started < calls_each && started - ended < in_flight) {
      uint64_t call = nebula_call_start(queue, method, static_cast<uint64_t>(started), 30'000'000, nullptr, 0, "ask", 3, NEBULA_END);
      expect(call != 0, "start");
      if (started++ % 50 == 0) *victim = call;
    }
    int32_t count = nebula_poll(queue, 10'000);
    expect(count > 0, "poll");
    if (count <= 0) break;
    for (int32_t i = 0; i < count; i++) {
      const nebula_event& event = nebula_queue_events(queue)[i];
      if (event.kind != NEBULA_EV_FINISHED) continue;
      ended++;
      expect(event.status == NEBULA_OK || event.status == NEBULA_CANCELLED, "status");
    }
  }
  nebula_channel_free(channel);
  nebula_queue_free(queue);
}

void serve_and_call(size_t queue_count) {
  nebula_engine_options options{sizeof options, 0, "mem:", 0};
  nebula_engine* engine = nebula_engine_new(&options, nullptr);
  std::vector<nebula_queue*> queues(queue_count);
  for (nebula_queue*& queue : queues) queue = new_queue(engine);
  nebula_server* server = nebula_server_new(engine, nullptr, nullptr);
  expect(nebula_server_method(server, "/test.Desk/Ask", NEBULA_UNARY, 1) == 0, "method");
  nebula_listen_options listen{};
  listen.size = sizeof listen;
  listen.announce = "test.Desk";
  expect(nebula_server_listen(server, "tcp://127.0.0.1:0", &listen, nullptr) == 0, "listen");
  expect(nebula_server_listen(server, "mem:desk", nullptr, nullptr) == 0, "listen");
  nebula::kit::Folder folder;
  nebula::kit::Pair509 pair = nebula::kit::self_signed();
  std::string files = folder.write("pair.pem", pair.certificate + pair.key);
  expect(nebula_server_listen(server, ("tls://127.0.0.1:0?cert=" + files).c_str(), nullptr, nullptr) == 0, "listen");

  Desk desk;
  std::vector<std::thread> pollers;
  for (nebula_queue* queue : queues) pollers.emplace_back(serve, queue, &desk);
  nebula_error error{};
  // While the queues are being polled.
  expect(nebula_server_start(server, queues.data(), static_cast<int32_t>(queue_count), &error) == 0, error.message);
  std::thread answerer(&Desk::answer_all, &desk);

  std::atomic<uint64_t> victim{0};
  std::atomic<bool> over{false};
  std::thread canceller([&] {
    while (!over) {
      nebula_call_cancel(victim.exchange(0), NEBULA_CANCELLED);
      std::this_thread::yield();
    }
  });
  char urls[256];
  nebula_server_urls(server, urls, sizeof urls);
  std::string encrypted = std::string(std::strstr(urls, "tls:")) + "?ca=" + files;
  std::vector<std::thread> callers;
  for (const std::string& target : {std::string("nebula://test.Desk"), std::string("nebula:"), std::string("mem:desk"),
                                    encrypted, encrypted})
    callers.emplace_back(call_many, engine, target, &victim);
  for (std::thread& caller : callers) caller.join();
  over = true;
  canceller.join();

  {
    std::lock_guard<std::mutex> hold(desk.lock);
    desk.closed = true;
    desk.came.notify_one();
  }
  answerer.join();
  nebula_server_health(server, "test.Desk", 2);
  nebula_server_drain(server, 1000, 0);
  for (nebula_queue* queue : queues) nebula_wake(queue, 0);
  for (std::thread& poller : pollers) poller.join();
  nebula_server_free(server);
  for (nebula_queue* queue : queues) nebula_queue_free(queue);
  nebula_engine_free(engine);
  std::printf("capi_tsan: %zu %s queues, %d calls, %s\n", queue_count, mode == NEBULA_QUEUE_INLINE ? "inline" : "threaded",
              clients * calls_each, wrong ? "WRONG" : "ok");
}

}  // namespace

int main() {
  for (uint32_t each : {NEBULA_QUEUE_INLINE, NEBULA_QUEUE_THREADED}) {
    mode = each;
    serve_and_call(1);
    serve_and_call(4);
  }
  return wrong ? 1 : 0;
}
