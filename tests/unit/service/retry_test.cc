// unit/service/retry_test.cc - which calls are tried again, where, how often, and never more than there is a budget for.
#include "service/retry.h"

#include <criterion/criterion.h>

#include <set>

#include "kit/cluster.h"
#include "rpc/nested_retries.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

RetryOptions options(std::string_view text) {
  Result<RetryOptions> options = RetryOptions::parse(url(text));
  cr_assert(options.ok());
  return *options;
}

std::string error_of(std::string_view text) { return RetryOptions::parse(url(text)).status().text(); }

Ending failed(Code code = Code::unavailable, Fate fate = Fate::processed) { return {Status(code, "no"), {}, fate}; }

Ending pushed_back(std::string_view text) {
  Ending ending = failed();
  ending.trailers.add("grpc-retry-pushback-ms", text);
  return ending;
}

// Instances that answer each call to /hello/greet as the test says.
struct Servers {
  explicit Servers(size_t count, uint64_t seed = 1) : cluster(seed) {
    for (size_t at = 0; at < count; at++) {
      all.push_back(cluster.serve("hello", std::string(1, static_cast<char>('a' + at))));
      all.back()->greet.answer_by([this, at](Request request, Reply reply) {
        ran.push_back(at);
        attempts.emplace_back(request.metadata.find("grpc-previous-rpc-attempts").value_or("none"));
        times.push_back(cluster.world.loop.now());
        if (failures == 0) return echo()(std::move(request), std::move(reply));
        failures--;
        Response response;
        response.status = unavailable("not now");
        if (!pushback.empty()) response.trailers.add("grpc-retry-pushback-ms", pushback);
        reply(std::move(response));
      });
    }
  }

  std::string run(Channel& channel, bool is_idempotent = true) {
    Call call;
    call.is_idempotent = is_idempotent;
    cluster.start(channel, call);
    cluster.world.loop.run_for(sec(5));
    return call.end();
  }

  Cluster cluster;
  std::vector<std::unique_ptr<Instance>> all;
  int failures = 0;                    // so many to come
  std::string pushback;
  std::vector<size_t> ran;             // where, in their order
  std::vector<std::string> attempts;   // as each was told
  std::vector<Time> times;
};

}  // namespace

// ---- by arithmetic

Test(retry, pauses_longer_each_time_with_jitter) {
  Random random(kit::seed(31));
  Retry retry(options("retry:?tries=5&first=100ms&most=300ms"));
  Duration expected = ms(100);
  for (uint32_t tries = 1; tries < 5; tries++) {
    std::optional<Duration> pause = retry.pause_after(tries, failed(), random);
    cr_assert(pause && *pause >= Duration{expected.ns * 4 / 5} && *pause <= Duration{expected.ns * 6 / 5});
    expected = std::min(expected * 2, ms(300));
  }
  cr_assert(!retry.pause_after(5, failed(), random));
}

Test(retry, pauses_longer_by_its_multiplier) {
  Random random(kit::seed(32));
  Retry retry(options("retry:?tries=5&first=10ms&multiplier=5&most=1s"));
  for (auto [tries, expected] : {std::pair(1u, ms(10)), {2, ms(50)}, {3, ms(250)}, {4, ms(1000)}}) {
    std::optional<Duration> pause = retry.pause_after(tries, failed(), random);
    cr_assert(pause && *pause >= Duration{expected.ns * 4 / 5} && *pause <= Duration{expected.ns * 6 / 5});
  }
}

Test(retry, repeats_only_codes_that_are_worth_it) {
  Random random(1);
  Retry usual(options("retry:")), wide(options("retry:?codes=unavailable,aborted"));
  cr_assert(usual.pause_after(1, failed(), random) && !usual.pause_after(1, failed(Code::aborted), random));
  cr_assert(wide.pause_after(1, failed(Code::aborted), random) && !wide.pause_after(1, failed(Code::internal), random));
  cr_assert(usual.pause_after(1, failed(Code::internal, Fate::unprocessed), random), "nobody has seen it");
}

Test(retry, does_as_the_server_pushes_back) {
  Random random(1);
  Retry retry(options("retry:"));
  cr_assert_eq(retry.pause_after(1, pushed_back("1234"), random)->ms(), 1234);
  cr_assert_eq(retry.pause_after(1, pushed_back("0"), random)->ms(), 0);
  for (const char* no : {"-1", "soon", "", "12x", "99999999999"})
    cr_assert(!retry.pause_after(1, pushed_back(no), random), "%s", no);
}

Test(retry, stops_when_half_of_the_throttle_tokens_are_gone_and_goes_on_when_they_are_back) {
  Random random(1);
  Retry retry(options("retry:?budget=1"));
  for (int call = 0; call < 1'000; call++) retry.on_call();
  int retries = 0;
  while (retry.pause_after(1, failed(), random)) {
    retry.on_call();
    cr_assert_leq(++retries, limits::throttle_tokens / 2);
  }
  cr_assert_eq(retries, limits::throttle_tokens / 2 - 1);
  for (int good = 0; good < 20; good++) {
    cr_assert(!retry.pause_after(3, failed(), random));  // which takes one more
    for (int i = 0; i < 10; i++) retry.on_success();
  }
  for (int i = 0; i < 20; i++) retry.on_success();
  cr_assert(retry.pause_after(1, failed(), random));
}

Test(retry, has_as_many_tokens_as_it_is_told) {
  Random random(1);
  Result<ThrottleOptions> throttle = ThrottleOptions::parse(url("throttle:?tokens=4&ratio=0.5"));
  cr_assert(throttle.ok());
  Retry retry(options("retry:"), *throttle);
  cr_assert(retry.pause_after(1, failed(), random), "3 are left");
  cr_assert(!retry.pause_after(1, failed(), random), "2 are left");
  for (int i = 0; i < 3; i++) retry.on_success();
  cr_assert(retry.pause_after(1, failed(), random), "of 3.5 there are 2.5 left");
}

Test(retry, is_held_to_no_budget_where_it_has_none) {
  Random random(1);
  RetryOptions free = options("retry:?tries=5");
  free.has_budget = false;
  Retry retry(options("retry:?budget=0"));
  for (int i = 0; i < 10 * limits::retry_reserve; i++) cr_assert(retry.pause_after(free, 1, failed(), random, sec(1)));
  for (int i = 0; i < limits::retry_reserve; i++) cr_assert(retry.pause_after(1, failed(), random), "that was not touched");
  cr_assert(!retry.pause_after(1, failed(), random));
}

Test(retry, takes_nothing_for_a_try_that_would_come_too_late) {
  Random random(1);
  RetryOptions how = options("retry:?budget=0&first=100ms");
  Retry retry(how);
  NestedShare nested = NestedRetries::make(1);
  for (int i = 0; i < limits::retry_reserve; i++)
    cr_assert(!retry.pause_after(how, 1, failed(), random, ms(10), nested.get()));
  cr_assert_eq(nested->left(), 1);
  for (int i = 0; i < limits::retry_reserve; i++) cr_assert(retry.pause_after(1, failed(), random));
  cr_assert(!retry.pause_after(1, failed(), random));
}

Test(retry, spends_no_more_than_its_budget) {
  for (double share : {0.0, 0.1, 0.5}) {
    Random random(1);
    Retry retry(options("retry:?tries=5&budget=" + std::to_string(share)));
    int calls = 700, retries = 0;
    for (int call = 0; call < calls; call++) {
      retry.on_call();
      for (int i = 0; i < 10; i++) retry.on_success();  // so that it is not the throttle
      for (uint32_t tries = 1; retry.pause_after(tries, failed(), random); tries++) retries++;
    }
    int most = static_cast<int>(calls * share) + static_cast<int>(limits::retry_reserve);
    cr_assert(retries <= most && retries >= most - 2, "%d of %d", retries, most);
  }
}

Test(retry, makes_at_most_a_tenth_more_attempts_when_all_fail) {
  Random random(1);
  Retry retry(options("retry:"));
  int calls = 2'000, attempts = 0;
  for (int call = 0; call < calls; call++) {
    retry.on_call();
    uint32_t tries = 1;
    while (retry.pause_after(tries, failed(), random)) tries++;
    attempts += static_cast<int>(tries);
  }
  cr_assert(attempts > calls && attempts <= calls * 11 / 10, "%d attempts of %d calls", attempts, calls);
}

Test(retry, reads_its_options_and_lists_those_that_there_are) {
  cr_assert(options("failfast:").mode == RetryOptions::Mode::failfast);
  cr_assert(options("retry:?mode=failtry").mode == RetryOptions::Mode::failtry);
  cr_assert_eq(error_of("retry:?mode=failback"),
               "INVALID_ARGUMENT: \"retry:?mode=failback\": mode is one of failfast, failtry, failover");
  cr_assert_eq(error_of("retry:?tires=3"),
               "INVALID_ARGUMENT: \"retry:?tires=3\": there is no option \"tires\"; there are: "
               "tries, budget, first, most, codes, multiplier, mode");
  cr_assert_eq(error_of("retry:?tries=6"), "INVALID_ARGUMENT: \"retry:?tries=6\": tries is a number from 1 to 5");
  cr_assert_eq(error_of("retry:?codes=unvailable"), "INVALID_ARGUMENT: \"retry:?codes=unvailable\": codes are names of "
                                                    "gRPC's codes, as unavailable,aborted");
}

// ---- through a channel

Test(retry, repeats_an_idempotent_call_elsewhere_and_says_so) {
  Servers servers(3);
  std::unique_ptr<Channel> channel = servers.cluster.channel_with("balancer=round_robin: breaker=none:");
  servers.failures = 2;
  cr_assert(servers.run(*channel) == "OK");
  cr_assert_eq(servers.ran.size(), 3);
  cr_assert_eq(std::set<size_t>(servers.ran.begin(), servers.ran.end()).size(), 3, "never where it was tried");
  cr_assert(servers.attempts == std::vector<std::string>({"none", "1", "2"}));
}

Test(retry, repeats_nothing_that_may_not_be_executed_twice) {
  Servers servers(3);
  std::unique_ptr<Channel> channel = servers.cluster.channel_with("");
  servers.failures = 1;
  cr_assert(servers.run(*channel, false) == "UNAVAILABLE: not now");
  cr_assert_eq(servers.ran.size(), 1);
}

Test(retry, gives_the_last_failure_when_all_tries_are_used) {
  Servers servers(2);
  std::unique_ptr<Channel> channel = servers.cluster.channel_with("breaker=none:");
  servers.failures = 100;
  cr_assert(servers.run(*channel) == "UNAVAILABLE: not now");
  cr_assert_eq(servers.ran.size(), 3);
}

Test(retry, knows_the_modes_of_rpcx) {
  for (auto [policy, tries] : {std::pair("failfast:", 1), {"failtry:?tries=4", 4}, {"failover:?tries=4", 4}}) {
    Servers servers(4);
    std::string words = std::string("balancer=round_robin: breaker=none: ") + policy;
    std::unique_ptr<Channel> channel = servers.cluster.channel_with(words);
    servers.failures = 100;
    servers.run(*channel);
    cr_assert_eq(servers.ran.size(), tries, "%s", policy);
    size_t places = std::set<size_t>(servers.ran.begin(), servers.ran.end()).size();
    cr_assert_eq(places, std::string_view(policy).starts_with("failover") ? 4 : 1, "%s", policy);
  }
}

Test(retry, waits_as_long_as_the_server_asks) {
  Servers servers(2);
  std::unique_ptr<Channel> channel = servers.cluster.channel_with("");
  servers.failures = 1;
  servers.pushback = "700";
  cr_assert(servers.run(*channel) == "OK");
  Duration waited = servers.times[1] - servers.times[0];
  cr_assert(waited >= ms(700) && waited < ms(702), "%ld ms", static_cast<long>(waited.ms()));
  servers.failures = 1;
  servers.pushback = "-1";
  cr_assert(servers.run(*channel) == "UNAVAILABLE: not now");
}

Test(retry, does_not_try_beyond_the_deadline) {
  Servers servers(2);
  std::unique_ptr<Channel> channel = servers.cluster.channel_with("retry:?first=100ms");
  servers.failures = 1;
  Call call("/hello/greet", "hi", servers.cluster.world.loop.now() + ms(50));
  call.is_idempotent = true;
  servers.cluster.start(*channel, call);
  servers.cluster.world.loop.run_for(ms(20));
  cr_assert(call.end() == "UNAVAILABLE: not now", "at once, with the reason: %s", call.end().c_str());
}

Test(retry, can_be_cancelled_or_destroyed_between_two_tries) {
  for (bool cancels : {true, false}) {
    Servers servers(2);
    std::unique_ptr<Channel> channel = servers.cluster.channel_with("retry:?first=1s");
    servers.failures = 1;
    Call call;
    call.is_idempotent = true;
    servers.cluster.run(*channel, call);
    cr_assert(servers.ran.size() == 1 && call.end() == "open");
    if (cancels)
      call.context.cancel(cancelled("enough"));
    else
      channel.reset();
    std::string expected = cancels ? "CANCELLED: enough before another try; the last one: UNAVAILABLE: not now"
                                   : "UNAVAILABLE: the channel to \"hello\" was closed";
    cr_assert(call.end() == expected, "%s", call.end().c_str());
    servers.cluster.world.loop.run_for(sec(3));
    cr_assert(call.answers == 1 && servers.ran.size() == 1);
  }
}

Test(retry, saves_the_idempotent_calls_of_a_node_that_dies) {
  Servers servers(3);
  std::unique_ptr<Channel> channel = servers.cluster.channel_with("balancer=round_robin:");
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 30; i++) {
    calls.push_back(std::make_unique<Call>("/hello/hold"));
    calls.back()->is_idempotent = true;
    servers.cluster.run(*channel, *calls.back());
  }
  servers.all[0]->kill();
  servers.cluster.world.loop.run_for(sec(1));
  size_t held = 0;
  for (const auto& each : servers.all)
    for (const auto& call : each->hold.calls)
      if (each != servers.all[0]) held++, call->reply(with("done"));
  servers.cluster.world.loop.run_for(sec(1));
  cr_assert_eq(held, 30);
  for (const auto& call : calls) cr_assert(call->end() == "OK", "%s", call->end().c_str());
}

Test(retry, repeats_a_stream_of_requests_until_responses_begin) {
  Servers servers(2);
  std::unique_ptr<Channel> channel = servers.cluster.channel_with("balancer=round_robin: breaker=none:");
  for (const auto& each : servers.all)
    NEBULA_ASSERT(each->router.add({"/hello/watch", false, &each->greet, Shape::server_stream}).ok());
  servers.failures = 1;
  Tray responses;
  for (const auto& each : servers.all)
    each->greet.answer_by([&](Request, Reply reply) {
      if (servers.failures-- > 0) return reply(unavailable("not now"));
      reply(with(responses));
    });
  Call call("/hello/watch", Shape::server_stream);
  call.is_idempotent = true;
  servers.cluster.run(*channel, call);
  servers.cluster.world.loop.run_for(ms(100));
  cr_assert_eq(call.answers, 1, "it has begun at the second");
  // From here on it is committed.
  responses.end({unavailable("later")});
  servers.cluster.world.loop.run_for(sec(1));
  cr_assert(call.end() == "UNAVAILABLE: later", "%s", call.end().c_str());
  cr_assert_eq(servers.all[0]->greet.calls + servers.all[1]->greet.calls, 2);
}

Test(retry, holds_its_budget_through_a_channel_whose_nodes_all_fail) {
  Servers servers(3);
  std::unique_ptr<Channel> channel = servers.cluster.channel_with("");
  servers.failures = INT32_MAX;
  for (int i = 0; i < 1'000; i++) {
    Call call;
    call.is_idempotent = true;
    servers.cluster.run(*channel, call);
    servers.cluster.world.loop.run_for(ms(200));
    cr_assert_eq(call.code(), Code::unavailable);
  }
  cr_assert(servers.ran.size() > 1'000 && servers.ran.size() <= 1'100, "%zu attempts of 1,000 calls", servers.ran.size());
}
