// unit/service/policy_test.cc - policies as text: what is said, what is not, and what is said wrongly.
#include "service/policy.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

struct Texts {
  std::string add(std::string_view text) {
    Status status = policies.add(text, world.network.env());
    return status.ok() ? "OK" : status.text();
  }
  ChannelPolicy open(std::string_view service) {
    Result<ChannelPolicy> opened = policies.open(service, world.network.env());
    cr_assert(opened.ok());
    return std::move(*opened);
  }

  SimWorld world;
  Drivers drivers = built_in_drivers();
  Policies policies{{drivers.balancers, drivers.breakers}};
};

void cr_assert_has(const std::string& text, std::string_view part) {
  cr_assert(text.find(part) != std::string::npos, "%s", text.c_str());
}

}  // namespace

Test(policy, has_everything_on_by_default) {
  Texts texts;
  ChannelPolicy policy = texts.open("any");
  cr_assert(policy.make_breaker && policy.make_breaker() != nullptr);
  cr_assert(policy.ejection.has_value());
  cr_assert(policy.retry && policy.retry->tries == 3 && policy.retry->budget == 0.1);
  cr_assert(policy.deadline == Duration{} && policy.nodes_max == limits::subset_nodes);
}

Test(policy, takes_words_in_any_order_and_space) {
  Texts texts;
  std::string_view text = "  breaker=none:\t retry:?tries=5 ejection=none: \r\n deadline:?default=200ms ; subset:?nodes=7";
  cr_assert_eq(texts.add(text), "OK");
  ChannelPolicy policy = texts.open("any");
  cr_assert(!policy.make_breaker && !policy.ejection);
  cr_assert(policy.retry->tries == 5 && policy.deadline == ms(200) && policy.nodes_max == 7);
}

Test(policy, is_for_a_name_where_it_says_so) {
  Texts texts;
  cr_assert_eq(texts.add("# prices are asked often\n"
                         "channel shop.Price: deadline:?default=1s failtry:\n"
                         "channel *: deadline:?default=9s subset:?nodes=3"),
               "OK");
  ChannelPolicy price = texts.open("shop.Price"), other = texts.open("shop.Cart");
  cr_assert(price.deadline == sec(1) && price.nodes_max == 3 && price.retry->mode == RetryOptions::Mode::failtry);
  cr_assert(other.deadline == sec(9) && other.nodes_max == 3 && other.retry->mode == RetryOptions::Mode::failover);
}

Test(policy, goes_before_what_was_said_earlier) {
  Texts texts;
  cr_assert_eq(texts.add("deadline:?default=1s subset:?nodes=3"), "OK");
  cr_assert_eq(texts.add("deadline:?default=2s"), "OK");
  cr_assert(texts.open("any").deadline == sec(2) && texts.open("any").nodes_max == 3);
}

Test(policy, opens_every_driver_that_there_is) {
  for (const char* text :
       {"balancer=closest:?zone=x", "balancer=least:", "balancer=p2c:?slow_start=0s", "balancer=pick_first:?shuffle=1",
        "balancer=random:",
        "balancer=ring_hash:?key=x-user", "balancer=round_robin:", "balancer=weighted:",
        "breaker=ratio:?open=0.5&calls=20",
        "breaker=streak:?failures=3", "breaker=cost:?open=0.3&calls=50&most=3", "breaker=none:", "ejection=outliers:?share=0.2", "retry:?mode=failtry",
        "failfast:", "recovery:?working=0.5&hold=5s"}) {
    Texts texts;
    std::string added = texts.add(text);
    cr_assert(added == "OK", "%s: %s", text, added.c_str());
    texts.open("any");
  }
}

Test(policy, refuses_a_typo_and_lists_what_there_is) {
  Texts texts;
  cr_assert_has(texts.add("balancer=p2:"),
                "unknown scheme \"p2\"; known: closest:?zone=name, least:, p2c:, pick_first:, random:");
  cr_assert_has(texts.add("breaker=ration:"), "unknown scheme \"ration\"; known: ratio:?open=0.4, streak:?failures=5, cost:?open=0.4");
  cr_assert_has(texts.add("retyr:?tries=3"), "there is no such word; there are: retry: failfast: failtry:");
  cr_assert_has(texts.add("balancr=p2c:"), "there is no such word");
  cr_assert_has(texts.add("p2c:"), "there is no such word");
  cr_assert_has(texts.add("retry:?tires=3"), "there is no option \"tires\"; there are: tries, budget");
  cr_assert_has(texts.add("ejection=outlier:"), "there is ejection=outliers: and ejection=none:");
  cr_assert_has(texts.add("subset:?nodes=0"), "nodes is a number from 1");
  cr_assert_has(texts.add("recovery:?working=5"), "working is a number from 0 to 1");
  cr_assert_has(texts.add("deadline:?defualt=1s"), "there are: default");
  cr_assert_has(texts.add("channel a b: failfast:"), "only letters, digits");
  cr_assert_has(texts.add("channel a"), "write channel name: words");
  cr_assert_has(texts.add("nonsense"), "must begin with a scheme");
}

Test(policy, says_in_which_line_a_mistake_is) {
  Texts texts;
  cr_assert_has(texts.add("# prices\nretry:?tries=3\nretri:"), "policy: line 3: \"retri:\": there is no such word; there are: ");
  cr_assert_has(texts.add("retry: ; ejection=none:\n\nchannel a: breaker=ratio:?opne=1"), "policy: line 3: ");
  cr_assert_has(texts.add("retri:"), "policy: \"retri:\"");
  cr_assert_eq(texts.add("# one; two\nretry:"), "OK");
}

Test(policy, adds_nothing_of_a_text_with_a_mistake) {
  Texts texts;
  cr_assert_neq(texts.add("deadline:?default=1s\nretry:?x=1"), "OK");
  cr_assert(texts.open("any").deadline == Duration{});
}

Test(policy, gives_calls_without_a_deadline_the_default) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel_with("deadline:?default=100ms");
  Call none("/hello/hold"), own("/hello/hold", "hi", cluster.world.loop.now() + sec(1));
  cluster.run(*channel, none);
  cluster.run(*channel, own);
  cluster.world.loop.run_for(ms(200));
  cr_assert_eq(none.code(), Code::deadline_exceeded);
  cr_assert(own.end() == "open");
  cluster.world.loop.run_for(sec(1));
  cr_assert_eq(own.code(), Code::deadline_exceeded);
}
