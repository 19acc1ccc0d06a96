// unit/service/announced_server_test.cc - the order of a server's end: marked, told to its connections, done, withdrawn.
#include "service/announced_server.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "kit/registry_world.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// A server under two names, and who calls it.
struct Scene {
  explicit Scene(Duration registry_delay = {}) : cluster(1, registry_delay) {
    cr_assert(router.add({"/hello/greet", false, &greet}).ok());
    cr_assert(router.add({"/hello/hold", false, &hold}).ok());
  }

  std::unique_ptr<AnnouncedServer> serve(const std::string& at, Registry* registry = nullptr) {
    std::unique_ptr<AnnouncedServer> server = std::make_unique<AnnouncedServer>(
        cluster.world.network.env(), registry != nullptr ? registry : &cluster.registry, router, ServerLimits());
    cr_assert(server->listen(url("mem:" + at)).ok());
    bool is_there = false;
    server->announce({"hello", "world"}, [&](Result<bool> result) { is_there = result.ok(); });
    cluster.world.loop.run_for(sec(1));
    cr_assert(is_there);
    return server;
  }

  void run_for(Duration length) { cluster.world.loop.run_for(length); }

  Cluster cluster;
  Router router;
  Handler greet{echo()};
  Holder hold;
};

// Takes announcements, and never answers a mark.
class Mute final : public Registry {
 public:
  class MuteLease final : public Lease {
   public:
    explicit MuteLease(Mute& registry) : registry_(registry) {}
    void mark(Mark, Done<bool> done) override { registry_.marks.push_back(std::move(done)); }

   private:
    Mute& registry_;
  };

  std::unique_ptr<Watch> watch(std::string_view, Fn<void(Snapshot)>) override { return nullptr; }
  void announce(std::string_view, Endpoint, Done<std::unique_ptr<Lease>> done) override {
    done(std::unique_ptr<Lease>(std::make_unique<MuteLease>(*this)));
  }

  std::vector<Done<bool>> marks;
};

}  // namespace

Test(announced_server, tells_the_registry_before_its_connections_and_is_withdrawn_at_last) {
  Scene scene(ms(20));
  std::unique_ptr<AnnouncedServer> server = scene.serve("a");
  Seen hello(scene.cluster.registry, "hello"), world(scene.cluster.registry, "world");
  std::unique_ptr<Channel> channel = scene.cluster.channel("hello");
  Call held("/hello/hold");
  scene.cluster.start(*channel, held);
  scene.run_for(sec(1));
  cr_assert_eq(scene.hold.count(), 1);

  bool is_drained = false;
  server->drain(sec(10), [&] { is_drained = true; });
  scene.run_for(ms(10));
  cr_assert(!hello.snapshots.back().endpoints->front().draining, "the word is on its way");
  cr_assert_eq(scene.cluster.run(*channel), "OK", "and connections are as they were");
  scene.run_for(ms(15));
  for (const Seen* seen : {&hello, &world}) {
    cr_assert_eq(seen->snapshots.back().endpoints->size(), 1u, "listed for as long as something runs");
    cr_assert(seen->snapshots.back().endpoints->front().draining);
  }
  cr_assert_neq(scene.cluster.run(*channel), "OK");
  cr_assert_eq(held.end(), "open");
  scene.hold.last().reply(with("done"));
  scene.run_for(ms(15));
  cr_assert(held.end() == "OK" && is_drained);
  scene.run_for(ms(10));
  cr_assert(hello.ids().empty() && world.ids().empty());
}

// ---- what it says of itself

namespace {

struct Self {  // as a watcher of that name sees it
  Self(Scene& scene, const std::string& name) : seen(scene.cluster.registry, name) {}
  bool is_unwell() const { return seen.snapshots.back().endpoints->front().unwell; }
  uint64_t description() const { return seen.snapshots.back().endpoints->front().description; }
  Seen seen;
};

}  // namespace

Test(announced_server, says_in_the_registry_which_of_its_names_it_does_not_serve) {
  Scene scene;
  std::unique_ptr<AnnouncedServer> server = scene.serve("a");
  Self hello(scene, "hello"), world(scene, "world");
  auto is = [&](bool hello_is, bool world_is) {
    scene.run_for(ms(1));
    return hello.is_unwell() == hello_is && world.is_unwell() == world_is;
  };
  cr_assert(is(false, false));
  server->set_health("hello", false);
  cr_assert(is(true, false));
  server->set_health("nobody", false);
  cr_assert(is(true, false));
  server->set_health("", false);
  cr_assert(is(true, true), "the server as a whole");
  server->set_health("hello", true);
  cr_assert(is(true, true));
  server->set_health("", true);
  cr_assert(is(false, false));
  size_t told = hello.seen.snapshots.size();
  server->set_health("hello", true);
  cr_assert(is(false, false));
  cr_assert_eq(hello.seen.snapshots.size(), told, "no news");
}

Test(announced_server, says_of_its_health_too_what_was_set_while_it_was_announced) {
  Scene scene(ms(20));
  AnnouncedServer server(scene.cluster.world.network.env(), &scene.cluster.registry, scene.router, ServerLimits());
  cr_assert(server.listen(url("mem:a")).ok());
  Self hello(scene, "hello");
  server.announce({"hello"}, [](Result<bool>) {});
  server.set_health("hello", false);
  scene.run_for(sec(1));
  cr_assert(hello.is_unwell());
}

Test(announced_server, says_by_a_digest_which_methods_its_services_have) {
  Scene scene;
  auto digest_with = [&scene](std::string_view document) {
    Descriptions descriptions;
    cr_assert(descriptions.add("hello", document).ok());
    cr_assert(descriptions.complete(scene.router, {}).ok());
    AnnouncedServer server(scene.cluster.world.network.env(), &scene.cluster.registry, scene.router, ServerLimits());
    server.describe(descriptions);
    cr_assert(server.listen(url("mem:a")).ok());
    server.announce({"hello", "world"}, [](Result<bool>) {});
    Self hello(scene, "hello"), world(scene, "world");
    scene.run_for(sec(1));
    cr_assert_eq(world.description(), 0, "nothing describes it");
    cr_assert_eq(hello.description(), descriptions.find("hello")->digest);
    return hello.description();
  };
  uint64_t plain = digest_with(R"({"service":"hello","methods":[{"name":"greet"},{"name":"hold"}]})");
  uint64_t again = digest_with(R"({"service":"hello","methods":[{"name":"greet"},{"name":"hold"}]})");
  uint64_t other = digest_with(R"({"service":"hello","methods":[{"name":"greet","request":{"type":"string"}},{"name":"hold"}]})");
  cr_assert(plain != 0 && plain == again && plain != other);
}

Test(announced_server, loses_no_call_while_one_after_the_other_is_replaced) {
  for (int64_t delay : {0, 5, 50}) {
    Scene scene{ms(delay)};
    std::vector<std::unique_ptr<AnnouncedServer>> servers;
    for (const char* at : {"a", "b", "c"}) servers.push_back(scene.serve(at));
    std::unique_ptr<Channel> channel = scene.cluster.channel_with("failfast:");
    std::vector<std::unique_ptr<Call>> calls;
    auto call = [&](int count) {
      for (int i = 0; i < count; i++) {
        calls.push_back(std::make_unique<Call>());
        scene.cluster.start(*channel, *calls.back());
        scene.run_for(us(500));
      }
    };
    call(200);
    for (size_t at = 0; at < servers.size(); at++) {
      bool is_drained = false;
      servers[at]->drain(sec(10), [&] { is_drained = true; });
      call(400);
      cr_assert(is_drained);
      servers[at] = scene.serve("again" + std::to_string(at));
      call(400);
    }
    scene.run_for(sec(1));
    for (const auto& each : calls) cr_assert_eq(each->end(), "OK", "%s", each->end().c_str());
  }
}

Test(announced_server, does_not_wait_long_for_a_registry_that_does_not_answer) {
  for (Duration wait : {sec(10), ms(300), Duration{}}) {
    Scene scene;
    Mute mute;
    std::unique_ptr<AnnouncedServer> server = scene.serve("a", &mute);
    std::optional<Time> drained;
    Time begin = scene.cluster.world.loop.now();
    server->drain(wait, [&] { drained = scene.cluster.world.loop.now(); });
    scene.run_for(sec(10));
    cr_assert(drained.has_value() && *drained - begin <= std::min(wait, limits::drain_mark_wait) + ms(1));
    cr_assert_eq(mute.marks.size(), 2u);
    server.reset();
    mute.marks.clear();  // answers when nobody is there to hear it
    scene.run_for(ms(1));
  }
}

Test(announced_server, keeps_within_its_time_what_the_registry_takes_included) {
  Scene scene;
  Mute mute;
  std::unique_ptr<AnnouncedServer> server = scene.serve("a", &mute);
  std::unique_ptr<Instance> front = scene.cluster.serve("front", "front");
  Endpoint self{"x", server->urls()};
  std::unique_ptr<Lease> lease;
  scene.cluster.registry.announce("hello", self, [&](Result<std::unique_ptr<Lease>> got) { lease = std::move(*got); });
  std::unique_ptr<Channel> channel = scene.cluster.channel("hello");
  Call held("/hello/hold");
  scene.cluster.start(*channel, held);
  scene.run_for(ms(10));
  cr_assert_eq(scene.hold.count(), 1);
  bool is_drained = false;
  server->drain(sec(3), [&] { is_drained = true; });
  scene.run_for(ms(2'990));
  cr_assert(!is_drained);
  scene.run_for(ms(20));
  cr_assert(is_drained, "what still ran was cut");
  scene.run_for(ms(10));
  cr_assert_eq(held.code(), Code::unavailable);
}

Test(announced_server, may_go_while_the_registry_is_asked) {
  Scene scene(ms(20));
  std::unique_ptr<AnnouncedServer> server = scene.serve("a");
  bool is_drained = false;
  server->drain(sec(10), [&] { is_drained = true; });
  server.reset();
  scene.run_for(sec(10));
  cr_assert(!is_drained);
}
