// bench/peer.cc - both ends of the benchmarks of memory and streams, on the C ABI as its users have it.
//
// usage: peer serve <url> [certificate key]             prints its addresses; until it is killed
//        peer up|down <url> <count> <size>              so many messages to the server or from it, in one stream
//        peer read <url> <size> <rate> <seconds>        an endless stream, of which it takes so many messages a second
//        peer talk <url> <streams> <stalled> <rounds>   streams of which some are not read, and the others converse
//
// Messages begin with their number in the stream, and each must come in its turn. A client says "go" when it is under
// way and "done" at the end, with figures; what is wrong goes to stderr and makes it return 1.
#include <nebula.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

enum Tag : uint64_t { tag_up = 1, tag_down, tag_echo, tag_unary };

constexpr uint64_t endless = UINT64_MAX;
constexpr uint32_t number_bytes = sizeof(uint64_t);
constexpr uint32_t talk_bytes = 20, stalled_bytes = 4096;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "bench/peer: %s\n", why.c_str());
  std::exit(1);
}

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

uint64_t number_of(const nebula_event& event) {
  uint64_t number = 0;
  if (event.size < number_bytes) fail("a message of " + std::to_string(event.size) + " bytes");
  std::memcpy(&number, event.data, number_bytes);
  return number;
}

void expect(const nebula_event& event, uint64_t number) {
  if (number_of(event) == number) return;
  fail("message " + std::to_string(number_of(event)) + " came when it was the turn of " + std::to_string(number));
}

std::string text_of(const nebula_event& event) { return {reinterpret_cast<const char*>(event.data), event.size}; }

// NEBULA_FULL or 0; a call that has died in the meantime (negative) is told by its event.
int32_t send(uint64_t call, uint64_t number, uint32_t size, uint32_t flags = 0) {
  static std::vector<char> message;
  message.resize(size);
  std::memcpy(message.data(), &number, number_bytes);
  return nebula_call_send(call, message.data(), size, flags);
}

// ---- the server

struct Served {
  uint64_t tag;
  uint64_t number = 0;      // of the next message
  uint64_t count = 0;       // to be sent
  uint32_t size = 0;
  uint64_t unconsumed = 0;  // bytes of requests that wait for room for their answers
};

class Server {
 public:
  int32_t on_event(const nebula_event& event) {
    if (event.kind == NEBULA_EV_CALL) {
      if (event.tag == tag_unary) return nebula_call_send(event.call, event.data, event.size, NEBULA_END) < 0;
      Served& call = calls_[event.call] = {event.tag};
      if (event.tag == tag_down) begin_down(event, call);
      return 0;
    }
    auto found = calls_.find(event.call);
    if (found == calls_.end()) return 0;
    Served& call = found->second;
    switch (event.kind) {
      case NEBULA_EV_MESSAGE: call.tag == tag_up ? take(event, call) : echo(event, call); break;
      case NEBULA_EV_WRITABLE: call.tag == tag_down ? pump(event.call, call) : consume(event.call, call); break;
      case NEBULA_EV_END: end(event.call, call); break;
      case NEBULA_EV_CANCELLED: calls_.erase(found); break;
      default: break;
    }
    return 0;
  }

 private:
  void take(const nebula_event& event, Served& call) {
    expect(event, call.number++);
    if ((event.flags & NEBULA_END) != 0) end(event.call, call);
  }

  void end(uint64_t id, const Served& call) {
    if (call.tag == tag_up)
      nebula_call_send(id, &call.number, number_bytes, NEBULA_END);
    else
      nebula_call_finish(id, NEBULA_OK, nullptr, nullptr, 0);
    calls_.erase(id);
  }

  void begin_down(const nebula_event& event, Served& call) {
    std::memcpy(&call.count, event.data, sizeof call.count);
    std::memcpy(&call.size, event.data + sizeof call.count, sizeof call.size);
    pump(event.call, call);
  }

  void pump(uint64_t id, Served& call) {
    while (call.number < call.count) {
      uint64_t number = call.number++;
      if (send(id, number, call.size, call.number == call.count ? NEBULA_END : 0) != 0) return;
    }
    calls_.erase(id);
  }

  void echo(const nebula_event& event, Served& call) {
    int32_t sent = nebula_call_send(event.call, event.data, event.size, event.flags & NEBULA_END);
    if ((event.flags & NEBULA_END) != 0) {
      calls_.erase(event.call);
      return;
    }
    call.unconsumed += event.size;
    if (sent == 0) consume(event.call, call);
  }

  void consume(uint64_t id, Served& call) { nebula_call_consume(id, std::exchange(call.unconsumed, 0)); }

  std::unordered_map<uint64_t, Served> calls_;
};

nebula_queue* make_queue(nebula_engine** engine) {
  nebula_error error{};
  *engine = nebula_engine_new(nullptr, &error);
  nebula_queue* queue = *engine != nullptr ? nebula_queue_new(*engine, nullptr, &error) : nullptr;
  if (queue == nullptr) fail(error.message);
  return queue;
}

int serve(const char* url, const char* certificate, const char* key) {
  nebula_engine* engine = nullptr;
  nebula_queue* queue = make_queue(&engine);
  nebula_error error{};
  nebula_tls tls{sizeof tls, 0, certificate, key, nullptr, nullptr};
  nebula_listen_options listen{sizeof listen, 0, nullptr, certificate != nullptr ? &tls : nullptr};
  nebula_server* server = nebula_server_new(engine, nullptr, &error);
  if (server == nullptr || nebula_server_method(server, "/bench/up", NEBULA_CLIENT_STREAM, tag_up) < 0 ||
      nebula_server_method(server, "/bench/down", NEBULA_SERVER_STREAM, tag_down) < 0 ||
      nebula_server_method(server, "/bench/echo", NEBULA_BIDI | NEBULA_HOLD, tag_echo) < 0 ||
      nebula_server_method(server, "/bench/unary", NEBULA_UNARY, tag_unary) < 0 ||
      nebula_server_listen(server, url, &listen, &error) < 0 || nebula_server_start(server, &queue, 1, &error) < 0)
    fail(error.message);
  char urls[256];
  nebula_server_urls(server, urls, sizeof urls);
  say(urls);
  Server calls;
  return nebula_run(
      queue, [](void* context, const nebula_event* event) { return static_cast<Server*>(context)->on_event(*event); },
      &calls);
}

// ---- the clients

class Client {
 public:
  explicit Client(const char* url) {
    queue_ = make_queue(&engine_);
    nebula_error error{};
    channel_ = nebula_channel_new(engine_, url, nullptr, &error);
    if (channel_ == nullptr) fail(error.message);
  }
  ~Client() {
    nebula_channel_free(channel_);
    nebula_queue_free(queue_);
    nebula_engine_free(engine_);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  uint64_t start(const char* path, int32_t shape, uint64_t tag, const std::string& request = {}) {
    uint64_t method = nebula_channel_method(channel_, path, shape);
    const char* data = request.empty() ? nullptr : request.data();
    uint64_t call = nebula_call_start(queue_, method, tag, 0, nullptr, 0, data, static_cast<uint32_t>(request.size()),
                                      data != nullptr ? NEBULA_END : 0);
    if (call == 0) fail("the call could not be started");
    return call;
  }

  uint64_t start_down(uint64_t count, uint32_t size, int32_t flags = 0) {
    std::string request(sizeof count + sizeof size, '\0');
    std::memcpy(request.data(), &count, sizeof count);
    std::memcpy(request.data() + sizeof count, &size, sizeof size);
    return start("/bench/down", NEBULA_SERVER_STREAM | flags, 0, request);
  }

  template <class Handler>
  void poll(int32_t timeout_ms, Handler handle) {
    int32_t count = nebula_poll(queue_, timeout_ms);
    if (count < 0) fail(nebula_strerror(count));
    const nebula_event* events = nebula_queue_events(queue_);
    for (int32_t i = 0; i < count; i++) handle(events[i]);
  }

 private:
  nebula_engine* engine_ = nullptr;
  nebula_queue* queue_ = nullptr;
  nebula_channel* channel_ = nullptr;
};

void must_be_ok(const nebula_event& event) {
  if (event.status != NEBULA_OK) fail("status " + std::to_string(event.status) + ": " + text_of(event));
}

void up(const char* url, uint64_t count, uint32_t size) {
  Client client(url);
  uint64_t call = client.start("/bench/up", NEBULA_CLIENT_STREAM, 0), number = 0;
  bool is_over = false;
  while (!is_over) {
    bool is_full = false;
    while (number < count && !is_full) {
      if (number == count / 100) say("go");
      is_full = send(call, number, size, number + 1 == count ? NEBULA_END : 0) != 0;
      number++;
    }
    while (is_full || (number == count && !is_over)) {
      client.poll(-1, [&](const nebula_event& event) {
        if (event.kind == NEBULA_EV_WRITABLE) is_full = false;
        if (event.kind != NEBULA_EV_FINISHED) return;
        must_be_ok(event);
        expect(event, count);  // the answer: how many it has had
        is_over = true;
      });
    }
  }
}

void down(const char* url, uint64_t count, uint32_t size) {
  Client client(url);
  client.start_down(count, size);
  uint64_t number = 0;
  for (bool is_over = false; !is_over;) {
    client.poll(-1, [&](const nebula_event& event) {
      if (event.kind == NEBULA_EV_MESSAGE) {
        if (number == count / 100) say("go");
        expect(event, number++);
      }
      if (event.kind != NEBULA_EV_FINISHED) return;
      must_be_ok(event);
      is_over = true;
    });
  }
  if (number != count) fail(std::to_string(number) + " messages came of " + std::to_string(count));
}

// Takes `rate` messages a second, whatever has come.
void read_slowly(const char* url, uint32_t size, double rate, double seconds) {
  Client client(url);
  uint64_t call = client.start_down(endless, size, NEBULA_HOLD), number = 0, taken = 0;
  std::deque<uint32_t> waiting;
  say("go");
  double began = now_s(), due = began;
  while (due < began + seconds) {
    client.poll(std::max(0, static_cast<int>((due - now_s()) * 1000)), [&](const nebula_event& event) {
      if (event.kind == NEBULA_EV_FINISHED) fail("the stream has ended: " + text_of(event));
      if (event.kind != NEBULA_EV_MESSAGE) return;
      expect(event, number++);
      waiting.push_back(event.size);
    });
    if (now_s() < due) continue;
    due += 1 / rate;
    if (waiting.empty()) continue;
    nebula_call_consume(call, waiting.front());
    waiting.pop_front();
    taken++;
  }
  say("done " + std::to_string(taken));
}

struct Talk {
  uint64_t call = 0, sent = 0, received = 0;
  bool is_full = false, is_over = false;
};

// `stalled` streams are written to until there is no room any more, and not read. The others make their rounds
// meanwhile; then the stalled ones are read too, to the end.
void talk(const char* url, size_t count, size_t stalled, uint64_t rounds) {
  Client client(url);
  std::vector<Talk> talks(count);
  size_t full = 0, over = 0, first = stalled;
  bool is_reading = false;
  for (size_t i = 0; i < count; i++) talks[i].call = client.start("/bench/echo", NEBULA_BIDI | NEBULA_HOLD, i);
  auto fill = [&](Talk& talk) {
    while (!talk.is_full) talk.is_full = send(talk.call, talk.sent++, stalled_bytes) != 0;
  };
  auto handle = [&](const nebula_event& event) {
    Talk& talk = talks[event.tag];
    bool is_stalled = event.tag < stalled;
    if (event.kind == NEBULA_EV_WRITABLE) {
      talk.is_full = false;
      if (is_stalled && !is_reading) fill(talk);
    }
    if (event.kind == NEBULA_EV_MESSAGE) {
      expect(event, talk.received++);
      if (!is_stalled || is_reading) nebula_call_consume(talk.call, event.size);
      if (!is_stalled && talk.received <= rounds)
        send(talk.call, talk.sent++, talk_bytes, talk.received == rounds ? NEBULA_END : 0);
    }
    if (event.kind != NEBULA_EV_FINISHED) return;
    must_be_ok(event);
    if (talk.received != talk.sent) fail("a stream has lost messages");
    talk.is_over = true;
    over++;
  };
  for (size_t i = 0; i < stalled; i++) fill(talks[i]);
  for (double quiet = now_s(); now_s() < quiet + 0.3;)  // until nothing moves
    client.poll(50, [&](const nebula_event& event) {
      handle(event);
      quiet = now_s();
    });
  say("go");
  for (size_t i = first; i < count; i++) send(talks[i].call, talks[i].sent++, talk_bytes);
  double began = now_s();
  while (over < count - stalled) client.poll(-1, handle);
  double took = now_s() - began;
  for (size_t i = 0; i < stalled; i++) full += talks[i].is_full && !talks[i].is_over;
  if (full < stalled) fail(std::to_string(stalled - full) + " streams were not stalled");
  say("talked " + std::to_string(took));
  is_reading = true;
  for (size_t i = 0; i < stalled; i++) {
    nebula_call_consume(talks[i].call, talks[i].received * stalled_bytes);
    nebula_call_send(talks[i].call, nullptr, 0, NEBULA_END);
  }
  while (over < count) client.poll(-1, handle);
}

}  // namespace

int main(int count, char** words) {
  std::string role = count > 2 ? words[1] : "";
  auto number = [&](int at) { return at < count ? std::strtoull(words[at], nullptr, 10) : 0; };
  if (role == "serve") return serve(words[2], count > 4 ? words[3] : nullptr, count > 4 ? words[4] : nullptr);
  double began = now_s();
  if (role == "up" && count == 5)
    up(words[2], number(3), static_cast<uint32_t>(number(4)));
  else if (role == "down" && count == 5)
    down(words[2], number(3), static_cast<uint32_t>(number(4)));
  else if (role == "read" && count == 6)
    return read_slowly(words[2], static_cast<uint32_t>(number(3)), std::atof(words[4]), std::atof(words[5])), 0;
  else if (role == "talk" && count == 6)
    talk(words[2], number(3), number(4), number(5));
  else
    fail("usage: see the head of tests/bench/peer.cc");
  say("done " + std::to_string(now_s() - began));
  return 0;
}
