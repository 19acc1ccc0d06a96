// cpp/coro_test.cc - coroutines over nebula.hpp: results, errors, handlers, many at once.
#include <nebula_coro.hpp>

#include "kit.hpp"

namespace {

using nebula::Awaited;
using nebula::Task;

Task<Text> echo_twice(nebula::Channel& channel, Text text) {
  Text once = co_await Awaited<Text>(channel, "/t.T/Echo", text);
  co_return co_await Awaited<Text>(channel, "/t.T/Echo", once + once);
}

Task<int> code_of(nebula::Channel& channel) {
  try {
    co_await Awaited<Text>(channel, "/t.T/Fail", "no");
  } catch (const nebula::Error& error) {
    co_return error.code();
  }
  co_return 0;
}

Task<Text> nested(nebula::Channel& channel) {
  co_return co_await echo_twice(channel, "a") + co_await echo_twice(channel, "b");
}

Task<Text> fail(nebula::Channel& channel) { co_return co_await Awaited<Text>(channel, "/t.T/Fail", "no"); }

}  // namespace

Test(coro, awaits_calls_in_sequence) {
  World w;
  nebula::Channel& channel = w.start();
  cr_assert_eq(nebula::wait(nested(channel)), Text("aabb"));
  cr_assert_eq(nebula::wait(code_of(channel)), NEBULA_ABORTED);
  cr_assert_error(nebula::wait(fail(channel)), NEBULA_ABORTED);
}

Test(coro, may_be_one_of_many) {
  World w;
  nebula::Channel& channel = w.start();
  std::vector<std::future<Text>> results;
  for (int i = 0; i < 1000; i++) results.push_back(nebula::begin(echo_twice(channel, std::to_string(i))));
  for (int i = 0; i < 1000; i++) cr_assert_eq(results[i].get(), std::to_string(i) + std::to_string(i));
}

Test(coro, is_a_handler_that_needs_no_thread) {
  World w(nebula::ServerOptions{{}, 4, 10000});
  nebula::coroutine(*w.server, "/t.T/Twice", [&w](Text text) -> Task<Text> { return echo_twice(*w.channel, text); });
  nebula::coroutine(*w.server, "/t.T/Broken", [&w](Text) -> Task<Text> { return fail(*w.channel); });
  nebula::Channel& channel = w.start();
  std::vector<nebula::Future<Text>> futures;
  for (int i = 0; i < 200; i++) futures.push_back(channel.start("/t.T/Twice", "x"));
  for (nebula::Future<Text>& future : futures) cr_assert_eq(future.get(), Text("xx"));
  cr_assert_error(channel.call("/t.T/Broken", ""), NEBULA_ABORTED);
}
