// docs/extending_test.cc - the drivers of docs/examples do what docs/extending.md says.
#include <criterion/criterion.h>

#include "examples.h"
#include "kit/balancing.h"
#include "kit/calls.h"
#include "kit/registry_world.h"
#include "rpc/server.h"
#include "service/balancer/balancer.h"
#include "service/channel.h"
#include "transport/transports.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

DriverTable<Transport> with_tap() {
  DriverTable<Transport> table;
  NEBULA_ASSERT(table.add(mem_driver()).ok());
  NEBULA_ASSERT(table.add(tap_driver()).ok());
  return table;
}

struct World {
  SimLoop loop{1};
  Log log{Level::off};
  Random random{1};
  MemHub hub;
  DriverTable<Transport> transports = with_tap();
  Network network{loop, log, random, transports, hub};
};

std::unique_ptr<Registry> open_list(World& world, const std::string& path) {
  Result<std::unique_ptr<Registry>> registry = list_registry_driver().open(url("list:" + path), world.network.env());
  cr_assert(registry.ok(), "%s", registry.status().text().c_str());
  return std::move(*registry);
}

}  // namespace

Test(extending, a_call_goes_through_both_drivers) {
  World world;
  TempDirectory directory;
  Handler greet{echo()};
  Router router;
  cr_assert(router.add({"/hello/greet", false, &greet}).ok());
  Server server(world.loop, world.network, world.log, router);
  cr_assert(server.listen(url("tap:?inner=mem:a")).ok());
  cr_assert_eq(server.urls()[0].text(), "mem:a");

  write_file(directory.file("list"), "hello tap:?inner=mem:a\n");
  std::unique_ptr<Registry> registry = open_list(world, directory.file("list"));
  Result<std::unique_ptr<Balancer>> balancer = round_robin_driver().open(url("round_robin:"), world.network.env());
  cr_assert(balancer.ok());
  Channel channel(world.network.env(), *registry, {"hello", "hello"}, std::move(*balancer));
  Call call("/hello/greet", "hi");
  channel.call(call.request(), call.reply());
  world.loop.run_for(sec(1));
  cr_assert_eq(call.end(), "OK");
  cr_assert_eq(call.body(), "hi");
}

Test(extending, the_tap_says_what_is_missing) {
  World world;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(url("tap:x"), [](std::unique_ptr<Conn>) {});
  cr_assert(!listener.ok());
  Status dialled;
  world.network.dial(url("tap:x"), [&dialled](Result<std::unique_ptr<Conn>> conn) { dialled = conn.status(); });
  cr_assert(dialled.ok());  // not from inside the verb
  world.loop.run_for(ms(1));
  cr_assert_eq(dialled.code(), Code::invalid_argument);
}

Test(extending, the_list_is_read_again) {
  World world;
  TempDirectory directory;
  write_file(directory.file("list"), "hello mem:a\nhelp mem:x\n");
  std::unique_ptr<Registry> registry = open_list(world, directory.file("list"));
  Seen hello(*registry, "hello");
  Seen helo(*registry, "helo");
  cr_assert(hello.snapshots.empty());
  world.loop.run_for(ms(1));
  cr_assert(hello.ids() == std::vector<std::string>{"mem:a"});
  cr_assert_eq(helo.snapshots.back().similar.at(0), "hello");
  write_file(directory.file("list"), "hello mem:a\nhello mem:b\n");
  world.loop.run_for(sec(2));
  cr_assert(hello.ids() == (std::vector<std::string>{"mem:a", "mem:b"}));
  cr_assert_eq(hello.snapshots.size(), 2u);  // told once, however often it was read
}

Test(extending, a_list_that_cannot_be_read_is_trouble) {
  World world;
  std::unique_ptr<Registry> registry = open_list(world, "/nowhere/at/all");
  Seen hello(*registry, "hello");
  world.loop.run_for(ms(1));
  cr_assert_eq(hello.snapshots.back().trouble.code(), Code::unavailable);
}

Test(extending, a_balancer_gives_the_newest_its_share) {
  Balancing balancing(newest_driver(), "newest:?percent=20", 4);
  balancing.nodes[2].endpoint.started = 7;
  balancing.update();
  std::vector<int> picks = balancing.picks(10'000);
  cr_assert(std::abs(picks[2] - 2000) < 150, "%d", picks[2]);
  for (size_t other : {0, 1, 3}) cr_assert(std::abs(picks[other] - 2667) < 170, "%d", picks[other]);
  for (size_t other : {0, 1, 3}) balancing.nodes[other].usable = false;
  cr_assert_eq(balancing.pick(), 2, "it is the only one");
  balancing.nodes[2].usable = false;
  cr_assert_eq(balancing.pick(), -1);
}

Test(extending, an_option_of_a_balancer_that_there_is_not_is_refused) {
  SimWorld world(1);
  Result<std::unique_ptr<Balancer>> opened = newest_driver().open(url("newest:?share=1"), world.network.env());
  cr_assert(!opened.ok());
  cr_assert(opened.status().text().find("percent") != std::string::npos, "%s", opened.status().text().c_str());
}
