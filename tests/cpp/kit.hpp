// tests/cpp/kit.hpp - a world in one process: an engine, a server with a method of each kind, a channel to it.
#ifndef NEBULA_TESTS_CPP_KIT_HPP
#define NEBULA_TESTS_CPP_KIT_HPP

#include <criterion/criterion.h>

#include <nebula.hpp>

using namespace std::chrono_literals;
using Text = std::string;

// Opened once, by one thread; others wait for it.
class Gate {
 public:
  void open() { promise_.set_value(); }
  void wait() const { cr_assert(future_.wait_for(20s) == std::future_status::ready, "nobody opened the gate"); }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_{promise_.get_future().share()};
};

struct World {
  explicit World(nebula::ServerOptions options = {}, nebula::EngineOptions of_engine = {}) : engine("mem:", of_engine) {
    server.emplace(options, engine);
    server->unary("/t.T/Echo", [](const Text& request) { return request; });
    server->unary("/t.T/Fail", [](const Text& request) -> Text {
      throw nebula::Error(NEBULA_ABORTED, request, {{"where", "to"}});
    });
    server->async("/t.T/Hang", [this](const Text&, nebula::Answer<Text> answer) {
      std::lock_guard<std::mutex> hold(lock);
      hung.push_back(std::move(answer));
    });
    server->client_stream("/t.T/Up", [](nebula::Reader<Text>& requests) {
      size_t messages = 0, bytes = 0;
      for (Text& message : requests) {
        messages++;
        bytes += message.size();
      }
      return std::to_string(messages) + " " + std::to_string(bytes);
    });
    server->server_stream("/t.T/Down", [](const Text& count, nebula::Writer<Text>& responses) {
      for (int i = 0; i < std::stoi(count); i++) responses.write(std::to_string(i));
    });
    server->bidi("/t.T/Chat", [](nebula::Stream<Text, Text>& stream) {
      for (Text& message : stream) stream.write(message);
    });
  }

  nebula::Channel& start() {
    server->listen("mem:t").start();
    return channel.emplace("mem:t", engine);
  }

  size_t hanging() {
    std::lock_guard<std::mutex> hold(lock);
    return hung.size();
  }

  std::mutex lock;
  std::vector<nebula::Answer<Text>> hung;
  nebula::Engine engine;
  std::optional<nebula::Server> server;
  std::optional<nebula::Channel> channel;
};

// How the work failed; the test does if it has not.
template <class Work>
nebula::Error error_of(Work work) {
  try {
    work();
  } catch (const nebula::Error& error) {
    return error;
  }
  cr_assert_fail("it should have failed");
}

#define cr_assert_error(work, expected) \
  do { \
    nebula::Error found = error_of([&] { work; }); \
    cr_assert_eq(found.code(), expected, "%s", found.what()); \
  } while (0)

#endif
