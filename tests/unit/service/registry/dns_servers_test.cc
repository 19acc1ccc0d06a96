// unit/service/registry/dns_servers_test.cc - a real dnsmasq, and a server that answers late, wrongly, in parts or not at all.
#include <criterion/criterion.h>

#include "kit/dns.h"
#include "service/registry/dns_resolver.h"
#include "service/registry/registries.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Ids = std::vector<std::string>;

std::unique_ptr<Registry> open_dns(RealWorld& world, const std::string& server, const std::string& more = "") {
  return std::move(*dns_registry_driver().open(url("dns:test?server=" + server + more), world.network.env()));
}

bool until_sees(RealWorld& world, const Seen& seen, const Ids& ids) {
  return world.run_until([&] { return seen.ids() == ids; }, sec(30));
}

// The outcome of one question.
Result<DnsAnswer> ask(RealWorld& world, const std::string& servers, const std::string& name, DnsType type = DnsType::a) {
  DnsServers resolver(*parse_dns_servers(servers), world.network.env());
  std::optional<Result<DnsAnswer>> outcome;
  resolver.ask(name, type, [&](Result<DnsAnswer>&& answer) { outcome = std::move(answer); });
  cr_assert(!outcome, "in a later step");
  cr_assert(world.run_until([&] { return outcome.has_value(); }, sec(20)));
  return *outcome;
}

std::string address_reply(const std::string& query) { return dns_reply(query, 0, {a_row("a.test", 60, "10.0.0.1")}); }

#define NEEDS_DNSMASQ \
  if (!DnsmasqProcess::is_installed()) cr_skip_test("there is no /usr/sbin/dnsmasq: apt-get install dnsmasq-base")

}  // namespace

Test(registry_dns_servers, a_real_one_tells_of_services) {
  NEEDS_DNSMASQ;
  RealWorld world;
  DnsmasqProcess dnsmasq({"srv-host=_shop.Price._tcp.test,a.test,7000,0,20", "srv-host=_shop.Price._tcp.test,b.test,7001,1,10",
                          "host-record=a.test,10.0.0.1,fd00::1", "host-record=b.test,10.0.0.2"});
  std::unique_ptr<Registry> registry = open_dns(world, dnsmasq.address());
  Seen seen(*registry, "shop.Price"), nobody(*registry, "hello");
  cr_assert(until_sees(world, seen, {"a.test:7000", "b.test:7001"}));
  const Endpoint& first = seen.snapshots.back().endpoints->front();
  cr_assert_eq(first.weight, 100u);
  cr_assert_eq(first.urls.size(), 2u);
  cr_assert(first.urls[0].text() == "tcp://10.0.0.1:7000");
  cr_assert(first.urls[1].text() == "tcp://[fd00::1]:7000");
  cr_assert(until_sees(world, nobody, {}));
  cr_assert(nobody.snapshots.back().trouble.ok());
}

Test(registry_dns_servers, a_real_one_tells_of_addresses) {
  NEEDS_DNSMASQ;
  RealWorld world;
  DnsmasqProcess dnsmasq({"host-record=hello.test,10.0.0.1", "host-record=hello.test,10.0.0.2"});
  std::unique_ptr<Registry> registry = open_dns(world, dnsmasq.address(), "&port=7000");
  Seen seen(*registry, "hello");
  cr_assert(until_sees(world, seen, {"10.0.0.1:7000", "10.0.0.2:7000"}));
}

Test(registry_dns_servers, a_real_one_that_dies_empties_no_list, .timeout = 60) {
  NEEDS_DNSMASQ;
  RealWorld world;
  DnsmasqProcess dnsmasq({"host-record=hello.test,10.0.0.1,1"});
  std::unique_ptr<Registry> registry = open_dns(world, dnsmasq.address(), "&port=7000");
  Seen seen(*registry, "hello");
  cr_assert(until_sees(world, seen, {"10.0.0.1:7000"}));
  dnsmasq.kill();
  cr_assert(world.run_until([&] { return !seen.snapshots.back().trouble.ok(); }, sec(30)));
  cr_assert(seen.ids() == Ids{"10.0.0.1:7000"});
  dnsmasq.start({"host-record=hello.test,10.0.0.2,1"});
  cr_assert(until_sees(world, seen, {"10.0.0.2:7000"}));
  cr_assert(seen.snapshots.back().trouble.ok());
}

Test(registry_dns_servers, a_real_answer_that_fits_no_datagram_comes_by_tcp) {
  NEEDS_DNSMASQ;
  RealWorld world;
  std::vector<std::string> lines;
  for (int i = 0; i < 40; i++)
    lines.push_back("srv-host=_hello._tcp.test,instance-" + std::to_string(i) + ".test,7000");
  DnsmasqProcess dnsmasq(lines);
  Result<DnsAnswer> answer = ask(world, dnsmasq.address(), "_hello._tcp.test", DnsType::srv);
  cr_assert(answer.ok(), "%s", answer.status().text().c_str());
  cr_assert_eq(answer->records.size(), 40u);
}

Test(registry_dns_servers, a_truncated_answer_is_asked_for_by_tcp) {
  RealWorld world;
  ScriptedDns dns(world, [](const std::string& query, bool by_tcp) {
    return by_tcp ? address_reply(query) : dns_reply(query, truncated, {});
  });
  Result<DnsAnswer> answer = ask(world, dns.address(), "a.test");
  cr_assert(answer.ok() && answer->records.at(0).target == "10.0.0.1");
  cr_assert_eq(dns.asked_by_tcp, 1);
}

Test(registry_dns_servers, what_is_no_answer_to_the_question_is_not_heard) {
  RealWorld world;
  int count = 0;
  ScriptedDns dns(world, [&](const std::string& query, bool) {
    switch (count++) {
      case 0: return std::string("garbage");
      case 1: return dns_reply(*make_dns_query(1, "b.test", DnsType::a), 0, {});
      default: return address_reply(query);
    }
  });
  // The first try hears garbage and waits in vain; so does the second, and the server's second line asks once more.
  Result<DnsAnswer> answer = ask(world, dns.address() + "," + dns.address(), "a.test");
  cr_assert(answer.ok());
  cr_assert_eq(dns.asked_by_udp, 3);
}

Test(registry_dns_servers, a_broken_answer_or_a_failure_is_asked_of_the_next_server) {
  RealWorld world;
  ScriptedDns broken(world, [](const std::string& query, bool) { return address_reply(query).substr(0, query.size() + 5); });
  ScriptedDns failing(world, [](const std::string& query, bool) { return dns_reply(query, servfail, {}); });
  ScriptedDns good(world, [](const std::string& query, bool) { return address_reply(query); });
  cr_assert(ask(world, broken.address() + "," + failing.address() + "," + good.address(), "a.test").ok());
  cr_assert_eq(broken.asked_by_udp + failing.asked_by_udp + good.asked_by_udp, 3);
  Status failed = ask(world, failing.address(), "a.test").status();
  cr_assert(failed.message() == failing.address() + ": it answers SERVFAIL", "%s", failed.text().c_str());
  cr_assert_eq(failing.asked_by_udp, 3);
  Status unknown = ask(world, broken.address(), "a.test").status();
  cr_assert(unknown.message() == broken.address() + ": its answer is broken", "%s", unknown.text().c_str());
}

Test(registry_dns_servers, silence_and_nobody_there_are_told_apart) {
  RealWorld world;
  ScriptedDns silent(world, [](const std::string&, bool) { return std::string(); });
  Status status = ask(world, silent.address(), "a.test").status();
  cr_assert(status.message() == silent.address() + ": it does not answer", "%s", status.text().c_str());
  cr_assert(ask(world, "127.0.0.1:1", "a.test").status().message() == "127.0.0.1:1: connection refused");
}

Test(registry_dns_servers, a_connection_that_says_something_else_is_a_failure) {
  RealWorld world;
  ScriptedDns dns(world, [](const std::string& query, bool by_tcp) {
    return by_tcp ? std::string("garbage") : dns_reply(query, truncated, {});
  });
  Status status = ask(world, dns.address(), "a.test").status();
  cr_assert(status.message() == dns.address() + ": it answers another question", "%s", status.text().c_str());
}

Test(registry_dns_servers, a_name_that_is_none_is_refused_unasked) {
  RealWorld world;
  ScriptedDns dns(world, [](const std::string& query, bool) { return address_reply(query); });
  cr_assert_eq(ask(world, dns.address(), "a..test").status().code(), Code::invalid_argument);
  cr_assert_eq(dns.asked_by_udp, 0);
}

Test(registry_dns_servers, many_questions_are_all_answered_a_few_at_a_time) {
  RealWorld world;
  ScriptedDns dns(world, [](const std::string& query, bool) { return address_reply(query); });
  DnsServers resolver(*parse_dns_servers(dns.address()), world.network.env());
  int answered = 0;
  for (int i = 0; i < 200; i++)
    resolver.ask("a.test", DnsType::a, [&](Result<DnsAnswer>&& answer) { answered += answer.ok() ? 1 : 0; });
  cr_assert(world.run_until([&] { return answered == 200; }));
}
