// unit/service/registry/watchers_test.cc - who is told what, and who is not even asked about.
#include "service/registry/watchers.h"

#include <criterion/criterion.h>

#include <map>

using namespace nebula;

namespace {

// Counts the questions.
struct Counting final : Watchers::Source {
  Snapshot snapshot(std::string_view service) override {
    asked++;
    return make_snapshot(lists[std::string(service)], service, {});
  }

  std::map<std::string, EndpointList> lists;
  int asked = 0;
};

struct Scene {
  explicit Scene(size_t count) : told(count) {
    for (size_t at = 0; at < count; at++)
      watches.push_back(watchers.add("s" + std::to_string(at), [this, at](const Snapshot&) { told[at]++; }));
  }

  Watchers watchers;
  Counting source;
  std::vector<int> told;
  std::vector<std::unique_ptr<Watch>> watches;
};

}  // namespace

Test(watchers, ask_only_about_the_service_that_has_changed) {
  Scene scene(1'000);
  scene.watchers.tell(scene.source, true);
  cr_assert_eq(scene.source.asked, 1'000);
  scene.source.lists["s7"] = {{"a", {}}};
  scene.watchers.tell(scene.source, false, {.services = {"s7"}});
  cr_assert_eq(scene.source.asked, 1'001);
  for (size_t at = 0; at < 1'000; at++) cr_assert_eq(scene.told[at], at == 7 ? 2 : 1);
}

Test(watchers, tell_who_is_new_after_a_fresh_look_and_nobody_else) {
  Scene scene(2);
  scene.watchers.tell(scene.source, true);
  int news = 0;
  std::unique_ptr<Watch> third = scene.watchers.add("s2", [&news](const Snapshot&) { news++; });
  scene.watchers.tell(scene.source, false, {.services = {"s2"}});
  cr_assert_eq(news, 0, "this look was not for it");
  scene.watchers.tell(scene.source, true, {});
  cr_assert_eq(news, 1);
  cr_assert_eq(scene.source.asked, 3);
}

Test(watchers, tell_all_when_all_may_have_changed_and_nobody_the_same_twice) {
  Scene scene(3);
  scene.watchers.tell(scene.source, true);
  scene.source.lists["s1"] = {{"a", {}}};
  scene.watchers.tell(scene.source, false);
  cr_assert(scene.told == (std::vector<int>{1, 2, 1}));
}
