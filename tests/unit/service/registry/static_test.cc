// unit/service/registry/static_test.cc - lists in an address.
#include <criterion/criterion.h>

#include "kit/registry_world.h"
#include "kit/world.h"
#include "service/registry/registries.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Urls = std::vector<std::string>;

Result<std::unique_ptr<Registry>> open_static(SimWorld& world, const std::string& text) {
  return static_registry_driver().open(*Url::parse(text), world.network.env());
}

Urls urls_of(const std::string& text, const std::string& service) {
  SimWorld world;
  Result<std::unique_ptr<Registry>> registry = open_static(world, text);
  cr_assert(registry.ok(), "%s", registry.status().text().c_str());
  Seen seen(**registry, service);
  cr_assert(world.loop.run_until_idle(100));
  cr_assert_eq(seen.snapshots.size(), 1u);
  Urls urls;
  for (const Endpoint& endpoint : *seen.snapshots[0].endpoints) urls.push_back(endpoint.urls.at(0).text());
  return urls;
}

}  // namespace

Test(registry_static, serves_every_name_with_a_plain_list) {
  cr_assert(urls_of("static:a:1,b:2", "hello") == (Urls{"tcp://a:1", "tcp://b:2"}));
  cr_assert(urls_of("static:[::1]:80", "hello") == Urls{"tcp://[::1]:80"});
}

Test(registry_static, takes_whole_addresses) {
  cr_assert(urls_of("static:unix:/run/a.sock,tcp://b:2,mem:x", "hello") ==
            (Urls{"unix:/run/a.sock", "tcp://b:2", "mem:x"}));
}

Test(registry_static, serves_single_names_from_options) {
  const char* list = "static:?hello=tcp://a:1,b:2&shop.Cart=c:3";
  cr_assert(urls_of(list, "hello") == (Urls{"tcp://a:1", "tcp://b:2"}));
  cr_assert(urls_of(list, "shop.Cart") == Urls{"tcp://c:3"});
  cr_assert(urls_of(list, "price").empty());
}

Test(registry_static, refuses_what_leads_nowhere) {
  SimWorld world;
  for (const char* text :
       {"static:", "static:localhost", "static:a:1,,b:2", "static:a:1,", "static:?no/name=a:1", "static:tcp://a"}) {
    Result<std::unique_ptr<Registry>> registry = open_static(world, text);
    cr_assert_eq(registry.status().code(), Code::invalid_argument, "%s", text);
  }
}

Test(registry_static, accepts_an_announcement_and_lists_it_not) {
  SimWorld world;
  Result<std::unique_ptr<Registry>> registry = open_static(world, "static:?hello=a:1");
  std::unique_ptr<Lease> lease;
  (*registry)->announce("hello", endpoint("x"), [&](Result<std::unique_ptr<Lease>> got) { lease = std::move(*got); });
  cr_assert_not_null(lease.get());
  Seen seen(**registry, "hello");
  cr_assert(world.loop.run_until_idle(100));
  cr_assert(seen.ids() == std::vector<std::string>{"a:1"});
}
