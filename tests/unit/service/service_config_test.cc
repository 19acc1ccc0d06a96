// unit/service/service_config_test.cc - gRPC's service config: what it becomes, what it does, and what is wrong with it.
#include "service/service_config.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

ServiceConfig parsed(std::string_view text) {
  Result<ServiceConfig> config = ServiceConfig::parse(text);
  cr_assert(config.ok(), "%s", config.status().text().c_str());
  return std::move(*config);
}

// The words that it becomes: "balancer=round_robin: ".
std::string words_of(std::string_view text) {
  std::string words;
  for (const auto& [kind, url] : parsed(text).words) words.append(kind + "=" + url.text() + " ");
  return words;
}

std::string balancing(std::string_view list) {
  return words_of("{\"loadBalancingConfig\": " + std::string(list) + "}");
}

// As a channel's policy; "OK", or what is wrong.
std::string added(std::string_view text) {
  SimWorld world;
  Drivers drivers = built_in_drivers();
  Policies policies({drivers.balancers, drivers.breakers});
  Status status = policies.add(text, world.network.env());
  return status.ok() ? "OK" : status.text();
}

void refuses(std::string_view text, std::string_view why) {
  std::string error = added(text);
  cr_assert(error == "INVALID_ARGUMENT: policy: " + std::string(why), "%s", error.c_str());
}

std::string with_retry(std::string_view fields) {
  return "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {" + std::string(fields) + "}}]}";
}

constexpr std::string_view balancers =
    "round_robin, pick_first, weighted_round_robin, least_request_experimental, ring_hash_experimental, "
    "outlier_detection_experimental";

}  // namespace

// ---- what it becomes

Test(service_config, says_nothing_where_it_is_empty) {
  cr_assert_eq(words_of("{}"), "");
  cr_assert_eq(words_of(" \n {\"loadBalancingConfig\": null, \"methodConfig\": []} "), "");
  cr_assert_eq(added("\n\t {}\n"), "OK");
}

Test(service_config, asks_after_the_health_of_a_service) {
  cr_assert_eq(words_of(R"({"healthCheckConfig": {"serviceName": "shop.Price"}})"), "health=health:?service=shop.Price ");
  cr_assert_eq(words_of(R"({"healthCheckConfig": {"serviceName": ""}})"), "health=health:?service= ");
  cr_assert_eq(words_of(R"({"healthCheckConfig": {}})"), "");
  cr_assert_eq(added(R"({"healthCheckConfig": {"serviceName": "shop.Price"}})"), "OK");
  refuses(R"({"healthCheckConfig": {"service": "a"}})",
          "healthCheckConfig: there is no \"service\"; did you mean \"serviceName\"? There are: serviceName");
}

Test(service_config, is_what_the_documentation_shows) {
  cr_assert_eq(added(R"({
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
      {"name": [{}], "timeout": "2s"},
      {"name": [{"service": "shop.Price"}, {"service": "shop.Cart", "method": "List"}],
       "timeout": "0.2s", "waitForReady": true,
       "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.02s", "maxBackoff": "1s", "backoffMultiplier": 2,
                       "retryableStatusCodes": ["UNAVAILABLE"]}}
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}
  })"),
               "OK");
}

Test(service_config, names_a_balancer) {
  cr_assert_eq(balancing(R"([{"round_robin": {}}])"), "balancer=round_robin: ");
  cr_assert_eq(balancing(R"([{"pick_first": {}}])"), "balancer=pick_first:?shuffle=0 ");
  cr_assert_eq(balancing(R"([{"pick_first": {"shuffleAddressList": true}}])"), "balancer=pick_first:?shuffle=1 ");
  cr_assert_eq(balancing(R"([{"weighted_round_robin": {}}])"), "balancer=weighted: ");
  cr_assert_eq(balancing(R"([{"weighted_round_robin": {"enableOobLoadReport": false, "blackoutPeriod": "1s",
                              "weightExpirationPeriod": "60s", "weightUpdatePeriod": "0.5s",
                              "errorUtilizationPenalty": 1.5}}])"),
               "balancer=weighted:?blackout=1000000us&expiry=60000000us&update=500000us&errors=1500e-3 ");
  cr_assert_eq(balancing(R"([{"least_request_experimental": {}}])"), "balancer=least: ");
  cr_assert_eq(balancing(R"([{"ring_hash_experimental": {"requestHashHeader": "X-User"}}])"),
               "balancer=ring_hash:?key=x-user ");
}

Test(service_config, takes_the_first_balancer_that_there_is) {
  cr_assert_eq(balancing(R"([{"grpclb": {"x": 1}}, {"our_own": {}}, {"round_robin": {}}, {"pick_first": {}}])"),
               "balancer=round_robin: ");
}

Test(service_config, knows_the_old_name_of_a_balancer_and_prefers_the_new) {
  cr_assert_eq(words_of(R"({"loadBalancingPolicy": "ROUND_ROBIN"})"), "balancer=round_robin: ");
  cr_assert_eq(words_of(R"({"loadBalancingPolicy": "UNSPECIFIED"})"), "");
  cr_assert_eq(words_of(R"({"loadBalancingPolicy": "pick_first", "loadBalancingConfig": [{"round_robin": {}}]})"),
               "balancer=round_robin: ");
}

Test(service_config, ejects_outliers_by_the_rules_that_it_has) {
  auto outliers = [](std::string_view fields) {
    std::string text = R"({"loadBalancingConfig": [{"outlier_detection_experimental": {)" + std::string(fields) +
                       R"("childPolicy": [{"round_robin": {}}]}}]})";
    SimWorld world;
    Drivers drivers = built_in_drivers();
    Policies policies({drivers.balancers, drivers.breakers});
    Status status = policies.add(text, world.network.env());
    cr_assert(status.ok(), "%s", status.text().c_str());
    return policies.open("any", world.network.env())->ejection;
  };
  cr_assert(!outliers(""), "gRPC ejects nobody without a rule");
  cr_assert(!outliers(R"("successRateEjection": {"enforcementPercentage": 0},)"));

  EjectionOptions both = *outliers(R"("successRateEjection": {}, "failurePercentageEjection": {},)");
  cr_assert(both.interval == sec(10) && both.first == sec(30) && both.most == sec(300) && both.share == 0.1);
  cr_assert(both.deviations == 1.9 && both.nodes == 5 && both.calls == 100);
  cr_assert(both.failures == 0.85 && both.failures_nodes == 5 && both.failures_calls == 50);

  EjectionOptions own = *outliers(
      R"("interval": "1.5s", "baseEjectionTime": "400s", "maxEjectionPercent": 30,
         "failurePercentageEjection": {"threshold": 40, "minimumHosts": 0, "requestVolume": 7},)");
  cr_assert(own.interval == ms(1500) && own.first == sec(400) && own.most == sec(400) && own.share == 0.3);
  cr_assert(own.failures == 0.4 && own.failures_nodes == 2 && own.failures_calls == 7);
  std::vector<Outcome> outcomes(10, Outcome{1'000, 0});
  outcomes[1].failures = 390;
  outcomes[4].failures = 410;
  cr_assert(find_outliers(outcomes, own) == std::vector<size_t>({4}), "the mean is no rule of it");

  EjectionOptions mean = *outliers(R"("successRateEjection": {"stdevFactor": 1000},)");
  cr_assert(mean.deviations == 1 && find_outliers(std::vector<Outcome>(10, Outcome{1'000, 1'000}), mean).empty());
}

Test(service_config, has_tokens_for_all_methods) {
  cr_assert_eq(words_of(R"({"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.125}})"),
               "throttle=throttle:?tokens=10&ratio=125e-3 ");
}

Test(service_config, has_a_policy_for_a_method_for_a_service_and_for_all) {
  ServiceConfig config = parsed(R"({"methodConfig": [
    {"name": [{"service": "shop.Price", "method": "Get"}, {"service": "shop.Cart"}], "timeout": "0.25s"},
    {"name": [{"service": "shop.Price", "method": ""}], "timeout": "2s", "waitForReady": true},
    {"name": [{}], "timeout": "1.000000001s"}]})");
  auto timeout = [&](std::string_view path) { return *find_method(config.methods, path)->timeout; };
  cr_assert(timeout("/shop.Price/Get") == ms(250) && timeout("/shop.Cart/Add") == ms(250));
  cr_assert(timeout("/shop.Price/List") == sec(2) && find_method(config.methods, "/shop.Price/List")->wait_for_ready);
  cr_assert(timeout("/shop.Price") == sec(2), "what has no method yet is one of a service");
  cr_assert(timeout("/other/Get") == nanos(1'000'000'001));
  cr_assert(!find_method(config.methods, "/shop.Price/Get")->wait_for_ready, "they do not add up");
  config.methods.erase("");
  cr_assert(find_method(config.methods, "/other/Get") == nullptr);
}

Test(service_config, bounds_times_that_are_as_good_as_forever) {
  ServiceConfig config = parsed(R"({"methodConfig": [{"name": [{}], "timeout": "315576000000s"}]})");
  cr_assert(*find_method(config.methods, "/a/b")->timeout == sec(1'000'000'000));
}

Test(service_config, reads_how_a_method_is_tried_again) {
  ServiceConfig config = parsed(with_retry(
      R"("maxAttempts": 9, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 1.5,
         "retryableStatusCodes": ["UNAVAILABLE", "aborted", 8])"));
  const RetryOptions& retry = *find_method(config.methods, "/a/b")->retry;
  cr_assert(retry.tries == 5 && retry.first == ms(100) && retry.most == sec(1) && retry.multiplier == 1.5);
  cr_assert_eq(retry.codes, 1u << 14 | 1u << 10 | 1u << 8);
  cr_assert(!retry.has_budget && retry.mode == RetryOptions::Mode::failover);
}

Test(service_config, goes_before_what_was_said_earlier_and_leaves_the_rest) {
  SimWorld world;
  Drivers drivers = built_in_drivers();
  Policies policies({drivers.balancers, drivers.breakers});
  for (std::string_view text :
       {"deadline:?default=9s throttle:?tokens=7", R"({"methodConfig": [{"name": [{}], "timeout": "1s"}]})",
        R"({"methodConfig": [{"name": [{"service": "a"}], "timeout": "2s"}]})", "subset:?nodes=3"})
    cr_assert(policies.add(text, world.network.env()).ok());
  ChannelPolicy policy = std::move(*policies.open("any", world.network.env()));
  cr_assert(policy.deadline == sec(9) && policy.throttle.tokens == 7 && policy.nodes_max == 3);
  cr_assert(policy.methods->size() == 1 && policy.methods->contains("a"), "of two the later one, whole");
}

// ---- what it does

Test(service_config, ends_calls_in_time) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel =
      cluster.channel_with(R"({"methodConfig": [{"name": [{"service": "hello", "method": "hold"}], "timeout": "0.1s"}]})");
  Time now = cluster.world.loop.now();
  Call none("/hello/hold"), later("/hello/hold", "hi", now + sec(9)), sooner("/hello/hold", "hi", now + ms(50));
  for (Call* call : {&none, &later, &sooner}) cluster.start(*channel, *call);
  cluster.world.loop.run_for(ms(60));
  cr_assert(none.end() == "open" && later.end() == "open" && sooner.code() == Code::deadline_exceeded);
  cluster.world.loop.run_for(ms(60));
  cr_assert(none.code() == Code::deadline_exceeded && later.code() == Code::deadline_exceeded);
  cr_assert_eq(cluster.run(*channel, "/hello/greet"), "OK");
}

Test(service_config, waits_for_an_instance_where_it_says_so) {
  Cluster cluster;
  std::unique_ptr<Channel> channel = cluster.channel_with(
      R"({"methodConfig": [{"name": [{"service": "hello", "method": "greet"}], "waitForReady": true}]})");
  Call greet, hold("/hello/hold");
  cluster.run(*channel, greet);
  cluster.run(*channel, hold);
  cr_assert(greet.end() == "open" && hold.code() == Code::unavailable);
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  cluster.world.loop.run_for(sec(1));
  cr_assert_eq(greet.end(), "OK");
}

Test(service_config, tries_again_what_is_not_marked_idempotent_where_it_says_so) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::vector<Time> times;
  auto fail = [&](Request, Reply reply) {
    times.push_back(cluster.world.loop.now());
    reply(Status(Code::aborted, "not now"));
  };
  hello->greet.answer_by(fail);
  Handler other(fail);
  NEBULA_ASSERT(hello->router.add({"/hello/other", false, &other}).ok());
  std::unique_ptr<Channel> channel = cluster.channel_with(R"({"methodConfig": [
    {"name": [{"service": "hello", "method": "greet"}],
     "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "10s", "backoffMultiplier": 3,
                     "retryableStatusCodes": ["ABORTED"]}}]})");
  Call greet, plain("/hello/other");
  plain.is_idempotent = true;
  cluster.start(*channel, greet);
  cluster.world.loop.run_for(sec(5));
  cr_assert_eq(greet.end(), "ABORTED: not now");
  cr_assert_eq(times.size(), 4);
  for (auto [next, pause] : {std::pair(1, ms(100)), {2, ms(300)}, {3, ms(900)}}) {
    Duration waited = times[next] - times[next - 1];
    cr_assert(waited >= Duration{pause.ns * 4 / 5} && waited <= Duration{pause.ns * 6 / 5} + ms(2));
  }
  cluster.start(*channel, plain);
  cluster.world.loop.run_for(sec(5));
  cr_assert_eq(other.calls, 1, "ABORTED is nothing that the default repeats");
}

Test(service_config, stops_retries_of_a_channel_when_half_of_its_tokens_are_gone) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  hello->greet.answer_by([](Request, Reply reply) { reply(unavailable("not now")); });
  std::unique_ptr<Channel> channel = cluster.channel_with(R"({
    "retryThrottling": {"maxTokens": 6, "tokenRatio": 0.1},
    "methodConfig": [{"name": [{}],
      "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
                      "retryableStatusCodes": ["UNAVAILABLE"]}}]})");
  for (auto [call, attempts] : {std::pair(1, 3), {2, 4}, {3, 5}}) {
    Call greet;
    cluster.start(*channel, greet);
    cluster.world.loop.run_for(ms(100));
    cr_assert_eq(greet.end(), "UNAVAILABLE: not now");
    cr_assert_eq(hello->greet.calls, attempts, "call %d", call);
  }
}

// ---- what is wrong with it

Test(service_config, refuses_what_is_no_json) {
  for (std::string_view text : {"{", "{]", "{\"a\": }", "{} more", "{\"methodConfig\": [}"})
    cr_assert(added(text).starts_with("INVALID_ARGUMENT: policy: what begins with { is a gRPC service config, but this "
                                      "is no JSON: "),
              "%s", added(text).c_str());
  std::string deep = R"({"loadBalancingConfig": )";
  for (int i = 0; i < 1'000; i++) deep.append(R"([{"outlier_detection": {"childPolicy": )");
  cr_assert(added(deep).find("is no JSON") != std::string::npos);
}

Test(service_config, refuses_a_typo_and_lists_what_there_is) {
  refuses(R"({"methodConfigs": []})",
          "there is no \"methodConfigs\"; did you mean \"methodConfig\"? There are: loadBalancingConfig, "
          "loadBalancingPolicy, methodConfig, retryThrottling, healthCheckConfig, connectionScaling");
  refuses(R"({"methodConfig": [{"name": [{}]}, {"name": [{"service": "a"}], "timout": "1s"}]})",
          "methodConfig[1]: there is no \"timout\"; did you mean \"timeout\"? There are: timeout, waitForReady, "
          "retryPolicy, hedgingPolicy, maxRequestMessageBytes, maxResponseMessageBytes, name");
  refuses(R"({"methodConfig": [{"name": [{"services": "a"}]}]})",
          "methodConfig[0].name: there is no \"services\"; did you mean \"service\"? There are: service, method");
  refuses(with_retry(R"("maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1,
                         "retryableStatusCodes": ["UNAVAILABLE"], "jitter": 1)"),
          "methodConfig[0].retryPolicy: there is no \"jitter\"; there are: maxAttempts, initialBackoff, maxBackoff, "
          "backoffMultiplier, retryableStatusCodes, perAttemptRecvTimeout");
  refuses(R"({"retryThrottling": {"maxTokens": 1, "tokenRatio": 1, "x": 1}})",
          "retryThrottling: there is no \"x\"; there are: maxTokens, tokenRatio");
  refuses(R"({"loadBalancingConfig": [{"round_robin": {"x": 1}}]})",
          "loadBalancingConfig.round_robin: there is no \"x\"; it has no fields");
  refuses(R"({"loadBalancingConfig": [{"outlier_detection": {"successRateEjection": {"stddevFactor": 1},
              "childPolicy": [{"round_robin": {}}]}}]})",
          "loadBalancingConfig.outlier_detection.successRateEjection: there is no \"stddevFactor\"; did you mean "
          "\"stdevFactor\"? There are: stdevFactor, enforcementPercentage, minimumHosts, requestVolume");
}

Test(service_config, refuses_a_balancer_that_it_has_not) {
  std::string known(balancers);
  refuses(R"({"loadBalancingConfig": [{"round_robbin": {}}, {"pick_first": {}}]})",
          "loadBalancingConfig: there is no \"round_robbin\"; did you mean \"round_robin\"? There are: " + known);
  refuses(R"({"loadBalancingConfig": [{"grpclb": {}}, {"our_own": {}}]})",
          "loadBalancingConfig: there is no grpclb, our_own; there are: " + known);
  refuses(R"({"loadBalancingConfig": []})", "loadBalancingConfig is empty; there are: " + known);
  refuses(R"({"loadBalancingConfig": [{"a": {}, "b": {}}]})",
          "loadBalancingConfig is a list of objects with one field each, as [{\"round_robin\": {}}]");
  refuses(R"({"loadBalancingPolicy": "grpclb"})",
          "loadBalancingPolicy: there is no \"grpclb\"; there are: " + known);
  refuses(R"({"loadBalancingConfig": [{"ring_hash": {}}]})",
          "loadBalancingConfig.ring_hash.requestHashHeader is needed: the metadata that is the key, as \"x-user\"");
  refuses(R"({"loadBalancingConfig": [{"outlier_detection": {}}]})",
          "loadBalancingConfig.outlier_detection.childPolicy is needed: how instances are chosen, as "
          "[{\"round_robin\": {}}]");
  refuses(R"({"loadBalancingConfig": [{"outlier_detection": {"childPolicy": [{"outlier_detection": {}}]}}]})",
          "loadBalancingConfig.outlier_detection.childPolicy.outlier_detection is within another one already");
}

Test(service_config, refuses_what_nebula_cannot_do_and_names_it) {
  for (auto [text, field] : {
           std::pair(R"({"connectionScaling": {}})", "connectionScaling"),
           {R"({"methodConfig": [{"name": [{}], "hedgingPolicy": {}}]})", "methodConfig[0].hedgingPolicy"},
           {R"({"methodConfig": [{"name": [{}], "maxRequestMessageBytes": 1}]})",
            "methodConfig[0].maxRequestMessageBytes"},
           {R"({"methodConfig": [{"name": [{}], "maxResponseMessageBytes": 1}]})",
            "methodConfig[0].maxResponseMessageBytes"},
           {R"({"loadBalancingConfig": [{"weighted_round_robin": {"enableOobLoadReport": true}}]})",
            "loadBalancingConfig.weighted_round_robin.enableOobLoadReport"},
           {R"({"loadBalancingConfig": [{"least_request": {"choiceCount": 3}}]})",
            "loadBalancingConfig.least_request.choiceCount"},
           {R"({"loadBalancingConfig": [{"ring_hash": {"minRingSize": 3}}]})",
            "loadBalancingConfig.ring_hash.minRingSize"},
       }) {
    std::string error = added(text), start = "INVALID_ARGUMENT: policy: " + std::string(field);
    cr_assert(error.starts_with(start + " is what Nebula cannot do; "), "%s", error.c_str());
  }
  refuses(R"({"loadBalancingConfig": [{"outlier_detection": {"successRateEjection": {"enforcementPercentage": 50}}}]})",
          "loadBalancingConfig.outlier_detection.successRateEjection.enforcementPercentage is 0 or 100: Nebula ejects "
          "all that it finds");
}

Test(service_config, refuses_values_of_another_kind_or_beyond_their_bounds) {
  refuses(R"({"methodConfig": {}})", "methodConfig is a list, [...]");
  refuses(R"({"methodConfig": ["a"]})", "methodConfig[0] is an object, {...}");
  refuses(R"({"methodConfig": [{"name": [{}], "waitForReady": "yes"}]})",
          "methodConfig[0].waitForReady is true or false");
  refuses(R"({"loadBalancingPolicy": 1})", "loadBalancingPolicy is text");
  for (std::string_view time : {"1", "\"1\"", "\"1ms\"", "\"-1s\"", "\"s\"", "\".5s\"", "\"1.s\"", "\"1.0000000001s\"",
                                "\"1.x5s\"", "\"1 s\"", "\"99999999999999999999s\""})
    refuses(R"({"methodConfig": [{"name": [{}], "timeout": )" + std::string(time) + "}]}",
            "methodConfig[0].timeout is a time in seconds, as \"1.5s\"");
  refuses(R"({"retryThrottling": {"maxTokens": 1001, "tokenRatio": 1}})",
          "retryThrottling.maxTokens is a whole number from 1 to 1000");
  refuses(R"({"retryThrottling": {"maxTokens": 1.5, "tokenRatio": 1}})",
          "retryThrottling.maxTokens is a whole number from 1 to 1000");
  refuses(R"({"retryThrottling": {"maxTokens": 10, "tokenRatio": 0}})",
          "retryThrottling.tokenRatio is a number from 0.001 to 1000");
  refuses(R"({"retryThrottling": {"maxTokens": 10}})",
          "retryThrottling.tokenRatio is needed: how much of a token a good call gives back, as 0.1");
  refuses(R"({"loadBalancingConfig": [{"outlier_detection": {"interval": "0.001s"}}]})",
          "loadBalancingConfig.outlier_detection.interval is 0.01s or more");
  refuses(R"({"loadBalancingConfig": [{"outlier_detection": {"maxEjectionTime": "1s"}}]})",
          "loadBalancingConfig.outlier_detection.maxEjectionTime is no less than baseEjectionTime");
}

Test(service_config, refuses_names_of_nothing_and_names_said_twice) {
  refuses(R"({"methodConfig": [{"timeout": "1s"}]})",
          "methodConfig[0].name is needed: of which methods, as [{\"service\": \"shop.Price\", \"method\": \"Get\"}], or "
          "[{}] for all");
  refuses(R"({"methodConfig": [{"name": [{"method": "a"}]}]})",
          "methodConfig[0].name.service is needed: a method is one of a service");
  refuses(R"({"methodConfig": [{"name": [{"service": "a/b"}]}]})",
          "methodConfig[0].name.service is a name without \"/\", as shop.Price");
  refuses(R"({"methodConfig": [{"name": [{"service": "a"}]}, {"name": [{"service": "a", "method": null}]}]})",
          "methodConfig[1].name is \"a\" a second time");
  refuses(R"({"methodConfig": [{"name": [{}, {"service": ""}]}]})",
          "methodConfig[0].name is for all methods, as another one is");
}

Test(service_config, refuses_a_retry_policy_that_is_not_whole) {
  auto why = [](std::string_view fields, std::string_view text) {
    refuses(with_retry(fields), "methodConfig[0].retryPolicy." + std::string(text));
  };
  std::string whole = R"("maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1)";
  why("", "maxAttempts is needed: how many tries, from 2 on");
  why(R"("maxAttempts": 1)", "maxAttempts is a whole number from 2 to 4294967295");
  why(R"("maxAttempts": 2, "initialBackoff": "0s")", "initialBackoff is needed: a time above 0, as \"0.1s\"");
  why(R"("maxAttempts": 2, "initialBackoff": "1s")", "maxBackoff is needed: a time above 0, as \"1s\"");
  why(R"("maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s")",
      "backoffMultiplier is needed: how much longer each pause is, as 2");
  why(whole, "retryableStatusCodes is needed: which codes are worth another try, as [\"UNAVAILABLE\"]");
  for (std::string_view code : {"\"UNAVAILBLE\"", "0", "17", "\"aborted,internal\"", "{}"})
    why(whole + ", \"retryableStatusCodes\": [" + std::string(code) + "]",
        "retryableStatusCodes is a list of gRPC's codes, as [\"UNAVAILABLE\", \"ABORTED\"]; " + std::string(code) +
            " is none");
}
