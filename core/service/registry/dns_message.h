// service/registry/dns_message.h - questions and answers of DNS as bytes (RFC 1035, RFC 2782, RFC 2308).
//
// Without EDNS: an answer that is longer than 512 bytes is truncated and asked for again by TCP, which every server
// speaks, while some refuse what they do not know. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace nebula {

enum class DnsType : uint16_t { a = 1, aaaa = 28, srv = 33 };

struct DnsRecord {
  std::string target;  // srv: the host, "." for none; a and aaaa: the address
  uint16_t port = 0;   // these three: srv
  uint16_t priority = 0;
  uint16_t weight = 0;
};

// What there is, or, without records, that there is nothing.
struct DnsAnswer {
  std::vector<DnsRecord> records;
  Duration life;  // the smallest TTL of what it took; of nothing, the zone's for that, and zero if it has not said
};

// Nothing: no name can be like that, for an empty part, one of more than 63 characters, or more than 253 in all.
std::optional<std::string> make_dns_query(uint16_t id, std::string_view name, DnsType type);

// Whether the message answers that query: its id, its question. All else on the socket is a stranger's.
bool is_dns_reply(std::string_view message, std::string_view query);

// Of such a message: it does not hold all of the answer.
bool is_dns_truncated(std::string_view message);

// Of such a message. An error: it is broken, or the server says that it failed.
Result<DnsAnswer> parse_dns_reply(std::string_view message, DnsType type);

}  // namespace nebula
