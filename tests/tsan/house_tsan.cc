// tests/tsan/house_tsan.cc - queues that nobody polls for a while, for ThreadSanitizer; with the times that it took.
//
// A plain program in real time: a poller that is stuck is one that sleeps between two polls. Bounds are generous, for
// the sanitizer and a busy machine; what is stuck is stuck for longer. Returns 0 if all held.
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "kit/raw_http2.h"
#include "nebula.h"

namespace raw = nebula::kit::raw;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int stuck_ms = 1500;
constexpr double answer_ms_max = 500;  // without sanitizer and company: 60

bool all_held = true;

void expect(bool holds, const char* what) {
  if (!holds) std::printf("FAILED: %s\n", what);
  all_held = all_held && holds;
}

void sleep_ms(int time) { std::this_thread::sleep_for(std::chrono::milliseconds(time)); }
double ms_since(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

struct House {
  House() {
    nebula_engine_options options{sizeof options, 0, "mem:", 0};
    engine = nebula_engine_new(&options, nullptr);
    queue = nebula_queue_new(engine, nullptr, nullptr);
    nebula_server_options limits{};
    limits.size = sizeof limits;
    limits.min_ping_ms = 1;
    server = nebula_server_new(engine, &limits, nullptr);
    nebula_server_method(server, "/hello/greet", NEBULA_UNARY, 1);
    nebula_error error{};
    expect(nebula_server_listen(server, "tcp://127.0.0.1:0", nullptr, &error) == 0, error.message);
    expect(nebula_server_start(server, &queue, 1, &error) == 0, error.message);
    char text[128];
    nebula_server_urls(server, text, sizeof text);
    url = text;
  }

  ~House() {
    nebula_server_free(server);
    nebula_queue_free(queue);
    nebula_engine_free(engine);
  }

  // Polls until a call comes.
  uint64_t next_call() {
    while (true) {
      int32_t count = nebula_poll(queue, 5000);
      if (count <= 0) return expect(false, "a call comes"), 0;
      for (int32_t i = 0; i < count; i++)
        if (nebula_queue_events(queue)[i].kind == NEBULA_EV_CALL) return nebula_queue_events(queue)[i].call;
    }
  }

  nebula_engine* engine;
  nebula_queue* queue;
  nebula_server* server;
  std::string url;
};

// A connection whose pings are answered, or not.
class Pinger {
 public:
  explicit Pinger(const std::string& url) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::atoi(url.c_str() + url.rfind(':') + 1)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    expect(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
    int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    write(raw::hello());
  }
  ~Pinger() { ::close(fd_); }

  // Milliseconds until the answer; those that passed if there is none.
  double ping(double wait_ms) {
    Clock::time_point began = Clock::now();
    size_t known = raw::frames_of(seen_, raw::ping).size();
    write(raw::frame(raw::ping, 0, 0, "12345678"));
    while (ms_since(began) < wait_ms && raw::frames_of(seen_, raw::ping).size() == known) {
      pollfd ready{fd_, POLLIN, 0};
      if (::poll(&ready, 1, static_cast<int>(wait_ms)) <= 0) break;
      char text[4096];
      ssize_t size = ::read(fd_, text, sizeof text);
      if (size <= 0) return expect(false, "the connection lives"), wait_ms;
      seen_.append(text, static_cast<size_t>(size));
    }
    return ms_since(began);
  }

 private:
  void write(const std::string& text) {
    expect(::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()), "write");
  }

  const int fd_;
  std::string seen_;
};

void pings_of_a_stuck_queue_are_answered() {
  House house;
  Pinger pinger(house.url);
  std::atomic<bool> over{false};
  std::thread poller([&] {
    while (!over) {
      Clock::time_point began = Clock::now();
      while (ms_since(began) < 100) nebula_poll(house.queue, 10);
      sleep_ms(stuck_ms);
    }
  });
  double longest = 0, second = 0;
  int count = 0;
  for (Clock::time_point began = Clock::now(); ms_since(began) < 2 * stuck_ms; count++) {
    double took = pinger.ping(stuck_ms);
    if (took > longest) std::swap(took, longest);
    second = std::max(second, took);
    sleep_ms(2);
  }
  over = true;
  poller.join();
  std::printf("stuck for %d ms: %d pings, longest answers %.1f and %.1f ms\n", stuck_ms, count, longest, second);
  expect(longest < answer_ms_max, "pings of a stuck queue are answered");
}

void without_it_they_are_not() {
  ::setenv("NEBULA_HOUSEKEEPER", "off", 1);
  House house;
  ::unsetenv("NEBULA_HOUSEKEEPER");
  Pinger pinger(house.url);
  std::thread poller([&] {
    sleep_ms(stuck_ms);
    for (int polls = 0; polls < 10; polls++) nebula_poll(house.queue, 20);
  });
  double took = pinger.ping(2 * stuck_ms);
  poller.join();
  std::printf("nobody keeps house: %.1f ms\n", took);
  expect(took > answer_ms_max, "with the housekeeper switched off a ping waits for a poll");
}

// An answer that is given, and not flushed by a poll; a call that arrives meanwhile, and shows in the descriptor.
void what_a_stuck_queue_has_said_is_heard() {
  House house;
  std::atomic<double> took{0};
  std::thread caller([&] {
    nebula_queue* queue = nebula_queue_new(house.engine, nullptr, nullptr);
    nebula_channel* channel = nebula_channel_new(house.engine, house.url.c_str(), nullptr, nullptr);
    uint64_t method = nebula_channel_method(channel, "/hello/greet", NEBULA_UNARY);
    Clock::time_point began = Clock::now();
    for (int call = 0; call < 2; call++) {
      nebula_call_start(queue, method, 1, 0, nullptr, 0, "ask", 3, NEBULA_END);
      expect(nebula_poll(queue, 10'000) == 1, "the call ends");
      expect(nebula_queue_events(queue)[0].status == NEBULA_OK, "well");
      if (call == 0) took = ms_since(began);
    }
    nebula_channel_free(channel);
    nebula_queue_free(queue);
  });
  nebula_call_send(house.next_call(), "answer", 6, NEBULA_END);
  sleep_ms(stuck_ms);
  std::printf("an answer of a stuck queue: %.1f ms\n", took.load());
  expect(took > 0 && took < answer_ms_max, "answers of a stuck queue leave");
  pollfd ready{nebula_queue_fd(house.queue), POLLIN, 0};
  expect(::poll(&ready, 1, 0) == 1, "a call that the housekeeper took in shows in the descriptor");
  expect(nebula_poll(house.queue, 0) == 1, "and is there at once");
  nebula_call_send(nebula_queue_events(house.queue)[0].call, "answer", 6, NEBULA_END);
  nebula_poll(house.queue, 0);
  caller.join();
  while (nebula_poll(house.queue, 0) > 0) {}
  sleep_ms(100);
  while (nebula_poll(house.queue, 0) > 0) {}
  expect(::poll(&ready, 1, 0) == 0, "and no longer once all is taken");
}

// Times that the housekeeper's thread has slept.
long sleeps() {
  long count = -1;
  DIR* tasks = ::opendir("/proc/self/task");
  for (dirent* task; (task = ::readdir(tasks)) != nullptr;) {
    std::ifstream status(std::string("/proc/self/task/") + task->d_name + "/status");
    std::string line;
    bool is_it = false;
    while (std::getline(status, line)) {
      is_it = is_it || line == "Name:\tnebula-house";
      if (is_it && line.rfind("voluntary_ctxt_switches:", 0) == 0) count = std::atol(line.c_str() + 24);
    }
  }
  ::closedir(tasks);
  return count;
}

void an_idle_queue_wakes_nobody() {
  House house;
  Pinger pinger(house.url);
  pinger.ping(stuck_ms);  // so that it has been driven
  sleep_ms(200);
  long before = sleeps();
  sleep_ms(1000);
  long unpolled = sleeps() - before;
  std::thread poller([&] { nebula_poll(house.queue, 1500); });
  sleep_ms(300);
  before = sleeps();
  sleep_ms(1000);
  long polled = sleeps() - before;
  poller.join();
  std::printf("wake-ups in a second: %ld when nobody polls, %ld while a poll waits\n", unpolled, polled);
  expect(before >= 0 && unpolled == 0 && polled == 0, "an idle queue wakes nobody");
}

// Pollers that stall again and again, both at the calling and at the called end.
void nothing_is_lost_when_pollers_stall() {
  constexpr int calls = 3000, in_flight = 64;
  House house;
  std::atomic<bool> over{false};
  std::thread server([&] {
    for (int polls = 0; !over; polls++) {
      int32_t count = nebula_poll(house.queue, 20);
      for (int32_t i = 0; i < count; i++) {
        const nebula_event& event = nebula_queue_events(house.queue)[i];
        if (event.kind == NEBULA_EV_CALL) nebula_call_send(event.call, event.data, event.size, NEBULA_END);
      }
      if (polls % 40 == 0) sleep_ms(60);
    }
  });
  nebula_queue* queue = nebula_queue_new(house.engine, nullptr, nullptr);
  nebula_channel* channel = nebula_channel_new(house.engine, house.url.c_str(), nullptr, nullptr);
  uint64_t method = nebula_channel_method(channel, "/hello/greet", NEBULA_UNARY);
  int started = 0, ended = 0;
  for (int polls = 0; ended < calls; polls++) {
    for (; started < calls && started - ended < in_flight; started++)
      nebula_call_start(queue, method, 1, 0, nullptr, 0, "ask", 3, NEBULA_END);
    if (polls % 30 == 0) sleep_ms(70);
    int32_t count = nebula_poll(queue, 10'000);
    expect(count > 0, "answers come");
    if (count <= 0) break;
    for (int32_t i = 0; i < count; i++) {
      const nebula_event& event = nebula_queue_events(queue)[i];
      expect(event.kind == NEBULA_EV_FINISHED && event.status == NEBULA_OK && event.size == 3 &&
                 std::memcmp(event.data, "ask", 3) == 0, "each call ends well, once");
      ended++;
    }
  }
  over = true;
  server.join();
  nebula_channel_free(channel);
  nebula_queue_free(queue);
  std::printf("stalling pollers: %d calls\n", ended);
}

// The socket is one for both queues. What is never polled must not take connections from the one that comes back.
void a_stuck_queue_does_not_accept_for_others() {
  constexpr int callers = 20;
  char path[] = "/tmp/neb-houseXXXXXX";
  expect(::mkdtemp(path) != nullptr, "a folder");
  std::string address = "unix:" + std::string(path) + "/s";
  House house;
  // The housekeeper looks at the older one first.
  nebula_queue* stuck = nebula_queue_new(house.engine, nullptr, nullptr);
  nebula_queue* alive = nebula_queue_new(house.engine, nullptr, nullptr);
  nebula_queue* queues[] = {alive, stuck};
  nebula_server* server = nebula_server_new(house.engine, nullptr, nullptr);
  nebula_server_method(server, "/hello/greet", NEBULA_UNARY, 1);
  nebula_error error{};
  expect(nebula_server_listen(server, address.c_str(), nullptr, &error) == 0, error.message);
  expect(nebula_server_start(server, queues, 2, &error) == 0, error.message);
  nebula_queue* queue = nebula_queue_new(house.engine, nullptr, nullptr);
  nebula_channel* channels[callers];
  for (nebula_channel*& channel : channels) {
    channel = nebula_channel_new(house.engine, address.c_str(), nullptr, nullptr);
    nebula_call_start(queue, nebula_channel_method(channel, "/hello/greet", NEBULA_UNARY), 1, 0, nullptr, 0, "ask", 3,
                      NEBULA_END);
  }
  nebula_poll(queue, 0);
  sleep_ms(200);
  int ended = 0;
  for (Clock::time_point began = Clock::now(); ended < callers && ms_since(began) < stuck_ms;) {
    int32_t count = nebula_poll(alive, 1);
    for (int32_t i = 0; i < count; i++)
      nebula_call_send(nebula_queue_events(alive)[i].call, "answer", 6, NEBULA_END);
    ended += nebula_poll(queue, 1);
  }
  std::printf("one of two queues stuck: %d of %d calls answered\n", ended, callers);
  expect(ended == callers, "the queue that is polled serves them all");
  for (nebula_channel* channel : channels) nebula_channel_free(channel);
  nebula_server_free(server);
  nebula_queue_free(queue);
  nebula_queue_free(stuck);
  nebula_queue_free(alive);
  ::rmdir(path);
}

// Queues come and go while the housekeeper is at work.
void queues_come_and_go() {
  House house;
  for (int round = 0; round < 300; round++) {
    nebula_queue* queue = nebula_queue_new(house.engine, nullptr, nullptr);
    for (int wakes = 0; wakes < 3; wakes++) nebula_wake(queue, 0);
    if (round % 10 == 0) sleep_ms(22);
    nebula_queue_free(queue);
  }
}

}  // namespace

int main() {
  pings_of_a_stuck_queue_are_answered();
  without_it_they_are_not();
  what_a_stuck_queue_has_said_is_heard();
  an_idle_queue_wakes_nobody();
  nothing_is_lost_when_pollers_stall();
  a_stuck_queue_does_not_accept_for_others();
  queues_come_and_go();
  std::printf("house_tsan: %s\n", all_held ? "ok" : "WRONG");
  return all_held ? 0 : 1;
}
