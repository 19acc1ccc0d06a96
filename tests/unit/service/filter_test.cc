// unit/service/filter_test.cc - which instances a channel uses, by what they say of themselves, and the words where none fits.
#include "service/filter.h"

#include <criterion/criterion.h>

#include <cstdlib>

#include "kit/cluster.h"
#include "kit/registry_world.h"
#include "service/self.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

Endpoint instance(std::string id, std::string version, std::string group = {}, Labels labels = {}) {
  Endpoint self = endpoint(std::move(id));
  self.version = std::move(version);
  self.group = std::move(group);
  self.labels = std::move(labels);
  return self;
}

const EndpointList all = {instance("a", "1"), instance("b", "2", "canary", {{"tier", "gold"}}),
                          instance("c", "2", "", {{"tier", "gold"}, {"disk", "ssd"}}), instance("d", "3", "canary")};

std::string chosen(std::string_view text) {
  std::string ids, why;
  for (const Endpoint& each : Filter::parse(url(text))->choose(all, "hello", &why)) ids += each.id;
  return ids.empty() ? why : ids;
}

// With the variables as they are, "a=1 b=2".
std::string self_with(const char* name, const char* value) {
  cr_assert_eq(setenv(name, value, 1), 0);
  Endpoint self;
  Status status = describe_self(&self);
  cr_assert_eq(unsetenv(name), 0);
  if (!status.ok()) return status.text();
  std::string text = self.zone + "/" + self.group + "/" + self.version;
  for (const auto& [label, its] : self.labels) text += "/" + label + "=" + its;
  cr_assert_gt(self.started, 1'700'000'000);
  return text;
}

}  // namespace

Test(filter, chooses_those_of_which_all_is_true_in_their_order) {
  cr_assert_eq(chosen("filter:"), "abcd");
  cr_assert_eq(chosen("filter:?version=2"), "bc");
  cr_assert_eq(chosen("filter:?version=2&group=canary"), "b");
  cr_assert_eq(chosen("filter:?label.tier=gold&label.disk=ssd"), "c");
  cr_assert_eq(chosen("filter:?group="), "ac");
}

Test(filter, says_what_there_is_where_none_fits) {
  cr_assert_eq(chosen("filter:?version=4"),
               "\"hello\" has 4 instances, but none with version=4, as its filter wants; announced: version=1 (1), "
               "version=2 (2), version=3 (1)");
  cr_assert_eq(chosen("filter:?label.tier=gold&zone=eu-1"),
               "\"hello\" has 4 instances, but none with label.tier=gold zone=eu-1, as its filter wants; announced: "
               "label.tier=gold no zone (2), no label.tier no zone (2)");
  std::string why = "before";
  Filter filter = *Filter::parse(url("filter:?version=4"));
  cr_assert(filter.choose({}, "hello", &why).empty() && why.empty(), "that is not the filter's doing");
  cr_assert(filter.choose({all[0]}, "hello", &why).empty());
  cr_assert_eq(why, "\"hello\" has 1 instance, but not with version=4, as its filter wants; announced: version=1 (1)");
  EndpointList many;
  for (int at = 0; at < 100; at++) many.push_back(instance(std::to_string(at), "1." + std::to_string(at)));
  cr_assert(filter.choose(many, "hello", &why).empty());
  cr_assert_eq(why, "\"hello\" has 100 instances, but none with version=4, as its filter wants; announced: version=1.0 (1), "
                    "version=1.1 (1), version=1.10 (1), version=1.11 (1), version=1.12 (1), and others");
}

Test(filter, refuses_what_it_does_not_know) {
  auto refused = [](std::string_view text) { return Filter::parse(url(text)).status().text(); };
  cr_assert_eq(refused("filter:?vresion=2"), "INVALID_ARGUMENT: \"filter:?vresion=2\": there is no option \"vresion\"; "
                                             "there are: version, group, zone, label.name");
  cr_assert_eq(refused("filter:?version=2&version=3"), "INVALID_ARGUMENT: \"filter:?version=2&version=3\": version is there twice");
  for (const char* text : {"filter:version=2", "filter:?label.=x", "filter:?label=x"}) cr_assert_neq(refused(text), "OK", "%s", text);
}

Test(filter, is_a_word_of_policies) {
  Cluster cluster;
  std::unique_ptr<Instance> one = cluster.serve("hello", "a"), two = cluster.serve("hello", "b");
  std::unique_ptr<Channel> channel = cluster.channel_with("filter:?version=2");
  cr_assert_eq(cluster.run(*channel),
               "UNAVAILABLE: \"hello\" has 2 instances, but none with version=2, as its filter wants; announced: no version (2)");
  Instance newer(cluster, "hello", "c");
  Endpoint self = newer.endpoint();
  self.version = "2";
  std::unique_ptr<Lease> lease;
  cluster.registry.announce("hello", self, [&](Result<std::unique_ptr<Lease>> result) { lease = std::move(*result); });
  cluster.settle();
  for (int i = 0; i < 20; i++) cr_assert_eq(cluster.run(*channel), "OK");
  cr_assert(newer.greet.calls == 20 && one->server->session_count() == 0 && two->server->session_count() == 0);
  std::unique_ptr<Channel> other = cluster.channel_with("channel hello: filter:; filter:?version=9");
  cr_assert_eq(cluster.run(*other), "OK", "a filter for all names, and none for this one");

  Policies policies({cluster.drivers.balancers, cluster.drivers.breakers});
  cr_assert(!policies.add("filter:?colour=red", cluster.world.network.env()).ok());
}

Test(self, is_what_the_environment_says) {
  cr_assert_eq(self_with("NEBULA_ZONE", "eu-1"), "eu-1//");
  cr_assert_eq(self_with("NEBULA_GROUP", "canary"), "/canary/");
  cr_assert_eq(self_with("NEBULA_VERSION", "2.1"), "//2.1");
  cr_assert_eq(self_with("NEBULA_LABELS", "tier=gold,disk=ssd,empty="), "///disk=ssd/empty=/tier=gold");
  cr_assert_eq(self_with("NEBULA_LABELS", ""), "//");
}

Test(self, refuses_labels_that_are_none) {
  cr_assert_eq(self_with("NEBULA_LABELS", "tier"),
               "INVALID_ARGUMENT: NEBULA_LABELS: \"tier\" is no label; write name=value,name=value");
  cr_assert_eq(self_with("NEBULA_LABELS", "a=1,a=2"), "INVALID_ARGUMENT: NEBULA_LABELS: \"a\" is there twice");
  for (const char* text : {"=x", ",", "a=1,,b=2", "a=\n"})
    cr_assert(self_with("NEBULA_LABELS", text).starts_with("INVALID_ARGUMENT: NEBULA_LABELS"), "%s", text);
  cr_assert_eq(self_with("NEBULA_GROUP", "a\nb"), "INVALID_ARGUMENT: NEBULA_GROUP: it has a line break, or the like");
}
