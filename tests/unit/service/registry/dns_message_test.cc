// unit/service/registry/dns_message_test.cc - what DNS says, as bytes; and bytes that are none of it.
#include "service/registry/dns_message.h"

#include <criterion/criterion.h>

#include "kit/dns.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string query_for(const std::string& name, DnsType type) { return *make_dns_query(7, name, type); }

std::string services_reply() {
  std::string query = query_for("_hello._tcp.test", DnsType::srv);
  return dns_reply(query, 0, {srv_row("_hello._tcp.test", 60, 1, 20, 7000, "a.test"), srv_row("_hello._tcp.test", 40, 2, 0, 7001, "b.test")});
}

}  // namespace

Test(registry_dns_message, asks_as_the_protocol_has_it) {
  std::string query = query_for("a.test", DnsType::aaaa);
  const char expected[] = "\0\7\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\34\0\1";
  cr_assert(query == std::string(expected, sizeof expected - 1));
  cr_assert(query_for("a.test.", DnsType::aaaa) == query);
}

Test(registry_dns_message, no_name_has_parts_that_are_empty_or_long) {
  for (const std::string& name : {std::string(), std::string("."), std::string("a..b"), std::string(".a"), std::string(64, 'x'),
                                  std::string(126, 'x') + "." + std::string(126, 'x')})
    cr_assert(!make_dns_query(1, name, DnsType::a), "%s", name.c_str());
  cr_assert(make_dns_query(1, std::string(63, 'x'), DnsType::a).has_value());
}

Test(registry_dns_message, reads_services) {
  Result<DnsAnswer> answer = parse_dns_reply(services_reply(), DnsType::srv);
  cr_assert(answer.ok());
  cr_assert_eq(answer->records.size(), 2u);
  cr_assert(answer->records[0].target == "a.test");
  cr_assert_eq(answer->records[0].port, 7000);
  cr_assert_eq(answer->records[0].weight, 20);
  cr_assert_eq(answer->records[1].priority, 2);
  cr_assert(answer->life == sec(40));
}

Test(registry_dns_message, reads_addresses_behind_another_name_and_compressed_ones) {
  std::string query = query_for("a.test", DnsType::a);
  DnsRow address = a_row("b.test", 50, "10.0.0.1");
  Result<DnsAnswer> answer = parse_dns_reply(dns_reply(query, 0, {{"a.test", 5, 9, dns_name("b.test")}, address}), DnsType::a);
  cr_assert(answer.ok() && answer->records.size() == 1 && answer->records[0].target == "10.0.0.1");
  cr_assert(answer->life == sec(9));
  // The owner as a pointer to the question.
  std::string reply = dns_reply(query, 0, {address});
  reply.replace(reply.find(dns_name("b.test")), dns_name("b.test").size(), "\xc0\x0c");
  cr_assert(parse_dns_reply(reply, DnsType::a).ok());
}

Test(registry_dns_message, nothing_is_an_answer_and_a_failure_is_none) {
  std::string query = query_for("a.test", DnsType::a);
  Result<DnsAnswer> none = parse_dns_reply(dns_reply(query, nxdomain, {}, {soa_row("test", 600, 20)}), DnsType::a);
  cr_assert(none.ok() && none->records.empty());
  cr_assert(none->life == sec(20));
  Status failed = parse_dns_reply(dns_reply(query, servfail, {}), DnsType::a).status();
  cr_assert(failed.message() == "it answers SERVFAIL");
}

Test(registry_dns_message, belongs_to_its_query_alone) {
  std::string query = query_for("a.test", DnsType::a), reply = dns_reply(query, 0, {});
  cr_assert(is_dns_reply(reply, query));
  cr_assert(!is_dns_reply(reply, *make_dns_query(8, "a.test", DnsType::a)));
  cr_assert(!is_dns_reply(reply, query_for("b.test", DnsType::a)));
  cr_assert(!is_dns_reply(reply, query_for("a.test", DnsType::aaaa)));
  cr_assert(is_dns_reply(reply, query_for("A.Test", DnsType::a)));
  cr_assert(!is_dns_reply(query, query), "a question is no answer");
  for (size_t size = 0; size < query.size(); size++) cr_assert(!is_dns_reply(reply.substr(0, size), query));
}

Test(registry_dns_message, a_part_of_a_message_is_broken) {
  std::string reply = services_reply();
  for (size_t size = 12; size < reply.size(); size++)
    cr_assert(!parse_dns_reply(std::string(reply.substr(0, size)), DnsType::srv).ok(), "%zu", size);
}

Test(registry_dns_message, reads_whatever_comes) {
  Random random(seed(11));
  std::string good = services_reply();
  for (int round = 0; round < 20000; round++) {
    std::string reply = good;
    for (uint64_t change = random.below(6) + 1; change > 0; change--)
      reply[random.below(reply.size())] = static_cast<char>(random.chance(1, 3) ? 0xc0 : random.below(256));
    for (DnsType type : {DnsType::a, DnsType::aaaa, DnsType::srv}) (void)parse_dns_reply(reply, type).ok();
  }
}
