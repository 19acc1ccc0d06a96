// tsan/cpp_tsan.cc - nebula.hpp between its threads: one channel for many callers, handlers, callbacks, cancels, early ends.
#include <cstdio>
#include <cstdlib>
#include <nebula.hpp>

namespace {

using Text = std::string;
using namespace std::chrono_literals;

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "cpp_tsan: not so: %s\n", what);
  std::abort();
}

void call_all_ways(nebula::Channel& channel, int rounds) {
  for (int i = 0; i < rounds; i++) {
    check(channel.call("/t.T/Echo", "x") == "x", "a call is answered");
    nebula::Future<Text> future = channel.start("/t.T/Echo", "x");
    nebula::Future<Text> cancelled = channel.start("/t.T/Echo", "x");
    cancelled.cancel();
    nebula::BidiStream<Text, Text> stream = channel.bidi("/t.T/Chat");
    for (int j = 0; j < 20; j++) stream.write(Text(1000, 'x'));
    stream.end();
    int count = 0;
    while (stream.read()) count++;
    check(count == 20, "a stream is whole");
    check(future.get() == "x", "a future is answered");
    cancelled.error();
    channel.bidi("/t.T/Chat").write("and its handle goes");
  }
}

// Everything goes while calls are open.
void let_all_go() {
  nebula::Engine engine("mem:");
  std::atomic<int> called_back{0};
  {
    nebula::Server server(engine);
    server.bidi("/t.T/Chat", [](nebula::Stream<Text, Text>& stream) {
      for (Text& message : stream) stream.write(message);
    });
    server.listen("mem:t").start();
    nebula::Channel channel("mem:t", engine);
    std::vector<nebula::BidiStream<Text, Text>> streams;
    for (int i = 0; i < 20; i++) {
      streams.push_back(channel.bidi("/t.T/Chat"));
      streams.back().write("x");
      channel.start("/t.T/None", "", {}, [&](nebula::Future<Text>) { called_back++; });
    }
  }
  while (called_back < 20) std::this_thread::yield();
}

}  // namespace

int main() {
  {
    nebula::Engine engine("mem:");
    nebula::Server server(engine);
    server.unary("/t.T/Echo", [](const Text& request) { return request; });
    server.bidi("/t.T/Chat", [](nebula::Stream<Text, Text>& stream) {
      for (Text& message : stream) stream.write(message);
    });
    server.listen("mem:t").start();
    nebula::Channel channel("mem:t", engine);
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; i++) callers.emplace_back([&] { call_all_ways(channel, 50); });
    for (std::thread& caller : callers) caller.join();
    server.drain(5s);
  }
  for (int i = 0; i < 10; i++) let_all_go();
  std::printf("cpp_tsan: ok\n");
}
