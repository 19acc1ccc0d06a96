// unit/service/registry/dns_test.cc - what a registry makes of what DNS says, in virtual time. Real servers are asked in
// dns_servers_test.cc.
#include "service/registry/dns.h"

#include <criterion/criterion.h>

#include "kit/dns.h"
#include "service/registry/registries.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Ids = std::vector<std::string>;

// Says what stands in `says`; of all other names that there is nothing.
class ScriptedResolver final : public DnsResolver {
 public:
  struct World {
    std::map<std::pair<std::string, DnsType>, Result<DnsAnswer>> says;
    std::vector<Time> asked_services;
    Duration nothing_for = sec(1);
    bool is_down = false;

    void addresses(const std::string& name, std::vector<std::string> addresses, Duration life) {
      DnsAnswer answer{{}, life};
      for (std::string& address : addresses) answer.records.push_back({std::move(address)});
      says.insert_or_assign({name, DnsType::a}, answer);
    }
    void services(const std::string& name, std::vector<DnsRecord> records, Duration life) {
      says.insert_or_assign({name, DnsType::srv}, DnsAnswer{std::move(records), life});
    }
  };
  ScriptedResolver(SimLoop& loop, World& world) : loop_(loop), world_(world) {}

  void ask(std::string_view name, DnsType type, Done<DnsAnswer> done) override {
    if (type == DnsType::srv) world_.asked_services.push_back(loop_.now());
    auto found = world_.says.find({std::string(name), type});
    Result<DnsAnswer> answer = found == world_.says.end() ? DnsAnswer{{}, world_.nothing_for} : found->second;
    if (world_.is_down) answer = unavailable("10.0.0.2:53: it answers SERVFAIL");
    loop_.later([answer = std::move(answer), done = std::move(done)]() mutable { done(std::move(answer)); });
  }

 private:
  SimLoop& loop_;
  World& world_;
};

struct Scene {
  explicit Scene(const std::string& address = "dns:test?port=7000", uint64_t seed = 1) : world(seed) {
    Result<DnsPlace> place = parse_dns_place(url(address), "");
    cr_assert(place.ok());
    world.log = Log(Level::off);
    registry = std::make_unique<DnsRegistry>(*place, std::make_unique<ScriptedResolver>(world.loop, dns), world.network.env());
  }
  // How often services were asked for within a time to come.
  size_t asked_within(Duration length) {
    size_t before = dns.asked_services.size();
    world.loop.run_for(length);
    return dns.asked_services.size() - before;
  }

  SimWorld world;
  ScriptedResolver::World dns;
  std::unique_ptr<DnsRegistry> registry;
};

const EndpointList& endpoints(const Seen& seen) { return *seen.snapshots.back().endpoints; }

}  // namespace

Test(registry_dns, services_give_ports_and_all_addresses_of_their_hosts) {
  Scene scene("dns:test");
  scene.dns.services("_hello._tcp.test", {{"b.test", 7001, 0, 0}, {"a.test", 7000, 0, 0}}, sec(60));
  scene.dns.addresses("a.test", {"10.0.0.2", "10.0.0.1"}, sec(60));
  scene.dns.addresses("b.test", {"10.0.0.3"}, sec(60));
  Seen seen(*scene.registry, "hello");
  cr_assert(seen.snapshots.empty());
  scene.world.loop.run_for(ms(10));
  cr_assert_eq(seen.snapshots.size(), 1u);
  cr_assert(seen.ids() == (Ids{"a.test:7000", "b.test:7001"}));
  const Endpoint& first = endpoints(seen)[0];
  cr_assert_eq(first.urls.size(), 2u);
  cr_assert(first.urls[0].text() == "tcp://10.0.0.1:7000");
  cr_assert_eq(first.weight, 1u);
}

Test(registry_dns, names_without_services_have_addresses_where_a_port_is_given) {
  Scene scene, portless("dns:test");
  for (Scene* each : {&scene, &portless}) each->dns.addresses("hello.test", {"10.0.0.2", "10.0.0.1"}, sec(60));
  Seen seen(*scene.registry, "hello"), none(*portless.registry, "hello");
  scene.world.loop.run_for(ms(10));
  portless.world.loop.run_for(ms(10));
  cr_assert(seen.ids() == (Ids{"10.0.0.1:7000", "10.0.0.2:7000"}));
  cr_assert(none.ids().empty() && none.snapshots.back().trouble.ok());
}

Test(registry_dns, priorities_and_weights_become_weights) {
  Scene scene;
  scene.dns.services("_hello._tcp.test", {{"c", 1, 9, 500}, {"b", 1, 1, 30}, {"a", 1, 1, 60}, {"d", 1, 1, 0}}, sec(60));
  for (const char* name : {"a", "b", "c", "d"}) scene.dns.addresses(name, {"10.0.0.1"}, sec(60));
  Seen seen(*scene.registry, "hello");
  scene.world.loop.run_for(ms(10));
  std::vector<uint32_t> weights;
  for (const Endpoint& endpoint : endpoints(seen)) weights.push_back(endpoint.weight);
  cr_assert(weights == (std::vector<uint32_t>{100, 50, 1, 1}));
  cr_assert(endpoints(seen)[3].id == "c:1", "a spare is last");
}

Test(registry_dns, a_lone_dot_is_nobody_whatever_addresses_there_are) {
  Scene scene;
  scene.dns.services("_hello._tcp.test", {{".", 0, 0, 0}}, sec(60));
  scene.dns.addresses("hello.test", {"10.0.0.1"}, sec(60));
  Seen seen(*scene.registry, "hello");
  scene.world.loop.run_for(ms(10));
  cr_assert(seen.ids().empty());
}

Test(registry_dns, looks_again_when_the_smallest_life_ends) {
  Scene scene;
  scene.dns.services("_hello._tcp.test", {{"a.test", 7000, 0, 0}}, sec(100));
  scene.dns.addresses("a.test", {"10.0.0.1"}, sec(20));
  Seen seen(*scene.registry, "hello");
  scene.world.loop.run_for(ms(10));
  scene.dns.addresses("a.test", {"10.0.0.9"}, sec(20));
  cr_assert_eq(scene.asked_within(sec(19)), 0u);
  cr_assert_eq(scene.asked_within(sec(4)), 1u);
  cr_assert(endpoints(seen)[0].urls[0].text() == "tcp://10.0.0.9:7000");
  cr_assert_eq(seen.snapshots.size(), 2u);
  scene.world.loop.run_for(sec(100));
  cr_assert_eq(seen.snapshots.size(), 2u, "the same again is no news");
}

Test(registry_dns, lives_have_a_floor_and_a_ceiling) {
  for (auto [life, least, most] : {std::tuple{Duration(), sec(5), sec(6)}, {sec(86400), sec(300), sec(331)}}) {
    Scene scene;
    scene.dns.addresses("hello.test", {"10.0.0.1"}, life);
    Seen seen(*scene.registry, "hello");
    scene.world.loop.run_for(ms(10));
    cr_assert_eq(scene.asked_within(least - ms(20)), 0u);
    cr_assert_eq(scene.asked_within(most - least), 1u);
  }
}

Test(registry_dns, nobody_is_asked_for_again_before_long) {
  Scene scene;
  scene.dns.nothing_for = sec(3600);
  Seen seen(*scene.registry, "hello");
  scene.world.loop.run_for(ms(10));
  cr_assert(seen.ids().empty());
  scene.dns.addresses("hello.test", {"10.0.0.1"}, sec(60));
  cr_assert_eq(scene.asked_within(sec(29)), 0u);
  scene.world.loop.run_for(sec(5));
  cr_assert(seen.ids() == Ids{"10.0.0.1:7000"});
}

Test(registry_dns, servers_that_fail_empty_no_list_and_that_nothing_is_there_does) {
  Scene scene;
  scene.dns.addresses("hello.test", {"10.0.0.1"}, sec(10));
  Seen seen(*scene.registry, "hello");
  scene.world.loop.run_for(ms(10));
  scene.dns.is_down = true;
  scene.world.loop.run_for(sec(600));
  cr_assert(seen.ids() == Ids{"10.0.0.1:7000"});
  Status trouble = seen.snapshots.back().trouble;
  cr_assert(trouble.message() == "the registry dns:test?port=7000 cannot be asked: 10.0.0.2:53: it answers SERVFAIL", "%s",
            trouble.text().c_str());
  cr_assert_eq(seen.snapshots.size(), 2u, "said once");
  Seen late(*scene.registry, "hello");
  scene.world.loop.run_for(ms(10));
  cr_assert(late.ids() == Ids{"10.0.0.1:7000"} && !late.snapshots.back().trouble.ok());
  scene.dns.is_down = false;
  scene.dns.says.clear();
  scene.world.loop.run_for(sec(40));
  cr_assert(seen.ids().empty() && seen.snapshots.back().trouble.ok());
}

Test(registry_dns, half_of_an_answer_leaves_all_as_it_was) {
  Scene scene;
  scene.dns.services("_hello._tcp.test", {{"a.test", 1, 0, 0}, {"b.test", 1, 0, 0}}, sec(10));
  scene.dns.addresses("a.test", {"10.0.0.1"}, sec(10));
  scene.dns.addresses("b.test", {"10.0.0.2"}, sec(10));
  Seen seen(*scene.registry, "hello");
  scene.world.loop.run_for(ms(10));
  scene.dns.says.insert_or_assign({"b.test", DnsType::a}, Result<DnsAnswer>(unavailable("it answers SERVFAIL")));
  scene.world.loop.run_for(sec(60));
  cr_assert(seen.ids() == (Ids{"a.test:1", "b.test:1"}));
  cr_assert(!seen.snapshots.back().trouble.ok());
}

Test(registry_dns, asks_a_failing_server_ever_more_rarely_and_nobody_in_step) {
  std::vector<Time> second_looks;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    Scene scene("dns:test?port=7000", seed);
    scene.dns.is_down = true;
    Seen seen(*scene.registry, "hello");
    cr_assert(scene.asked_within(sec(60)) <= 12);
    cr_assert(scene.asked_within(sec(600)) <= 41);
    cr_assert(scene.asked_within(sec(600)) >= 19);
    second_looks.push_back(scene.dns.asked_services.at(1));
    cr_assert(second_looks.back() - scene.dns.asked_services[0] >= ms(250));
    cr_assert(second_looks.back() - scene.dns.asked_services[0] <= ms(501));
  }
  std::sort(second_looks.begin(), second_looks.end());
  cr_assert(second_looks.back() - second_looks.front() > ms(100));
}

Test(registry_dns, asks_once_for_many_watchers_and_not_at_all_for_none) {
  Scene scene;
  scene.dns.addresses("hello.test", {"10.0.0.1"}, sec(10));
  {
    Seen first(*scene.registry, "hello"), second(*scene.registry, "hello");
    scene.world.loop.run_for(ms(10));
    cr_assert_eq(scene.dns.asked_services.size(), 1u);
    cr_assert(second.ids() == Ids{"10.0.0.1:7000"});
  }
  cr_assert_eq(scene.asked_within(sec(100)), 0u);
}

Test(registry_dns, whoever_is_told_may_end_everything) {
  Scene scene;
  scene.dns.addresses("hello.test", {"10.0.0.1"}, sec(10));
  std::unique_ptr<Watch> own;
  int told = 0;
  own = scene.registry->watch("hello", [&](Snapshot) {
    told++;
    own.reset();
  });
  scene.world.loop.run_for(sec(60));
  std::unique_ptr<Watch> other = scene.registry->watch("hello", [&](Snapshot) {
    told++;
    scene.registry.reset();
  });
  scene.world.loop.run_for(sec(60));
  cr_assert_eq(told, 2);
}

Test(registry_dns, ends_in_the_middle_of_a_look) {
  Scene scene;
  Seen seen(*scene.registry, "hello");
  scene.registry.reset();
  scene.world.loop.run_for(sec(60));
  cr_assert(seen.snapshots.empty());
}

Test(registry_dns, accepts_an_announcement_and_writes_nothing) {
  Scene scene;
  std::unique_ptr<Lease> lease;
  scene.registry->announce("hello", endpoint("x"), [&](Result<std::unique_ptr<Lease>> got) { lease = std::move(*got); });
  cr_assert_not_null(lease.get());
  Seen seen(*scene.registry, "hello");
  scene.world.loop.run_for(ms(10));
  cr_assert(seen.ids().empty());
}

Test(registry_dns, reads_its_address) {
  DnsPlace place = *parse_dns_place(url("dns:example.org.?port=7000&server=10.0.0.2,[::1]:54,10.0.0.3:55&tls"), "");
  cr_assert(place.domain == "example.org");
  cr_assert(place.scheme == "tls");
  Ids servers;
  for (const SocketAddress& server : place.servers) servers.push_back(server.url().authority());
  cr_assert(servers == (Ids{"10.0.0.2:53", "[::1]:54", "10.0.0.3:55"}));
  cr_assert(parse_dns_place(url("dns:?server=::1"), "corp.test")->domain == "corp.test");
}

Test(registry_dns, says_what_is_wrong_with_an_address) {
  SimWorld world;
  for (auto [text, words] : std::initializer_list<std::pair<const char*, const char*>>{
           {"dns://example.org", "no slashes"},
           {"dns:example.org/a", "no slashes"},
           {"dns:a..b", "no domain"},
           {"dns:example.org?prot=1", "prot"},
           {"dns:example.org?port=0", "port"},
           {"dns:example.org?server=", "is no address"},
           {"dns:example.org?server=ns.example.org", "is no address"},
           {"dns:example.org?server=10.0.0.2:", "is no address"},
           {"dns:example.org?server=10.0.0.2:99999", "is no address"},
           {"dns:example.org?server=10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4", "more than 3"}}) {
    Status status = dns_registry_driver().open(url(text), world.network.env()).status();
    cr_assert_eq(status.code(), Code::invalid_argument, "%s", text);
    cr_assert(status.message().find(words) != std::string_view::npos, "%s", status.text().c_str());
  }
  cr_assert(parse_dns_place(url("dns:"), "").status().message().find("write dns:example.org") != std::string_view::npos);
  cr_assert_eq(dns_registry_driver().open(url("dns:a.test"), world.network.env()).status().code(), Code::failed_precondition);
}

Test(registry_dns, reads_what_a_host_says_of_its_servers) {
  DnsSettings settings = parse_resolv_conf("# a comment\nnameserver 10.0.0.2\nsearch corp.test other.test\noptions ndots:5\n"
                                           "nameserver ::1\nnameserver fe80::1%eth0\nnameserver 10.0.0.3 # x\nnameserver 10.0.0.4");
  cr_assert(settings.domain == "corp.test");
  cr_assert_eq(settings.servers.size(), 3u);
  cr_assert(settings.servers[2].url().authority() == "10.0.0.3:53");
  cr_assert(parse_resolv_conf("").servers.at(0).url().authority() == "127.0.0.1:53");
}
