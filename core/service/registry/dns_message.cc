// service/registry/dns_message.cc - headers and records by hand; compressed names by the C library, which knows their traps.
#include "service/registry/dns_message.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <resolv.h>

#include <algorithm>
#include <cctype>

#include "base/limits.h"

namespace nebula {

namespace {

constexpr size_t header_bytes = 12;
constexpr uint16_t type_cname = 5, type_soa = 6;

void put16(std::string* out, uint16_t value) {
  out->push_back(static_cast<char>(value >> 8));
  out->push_back(static_cast<char>(value & 255));
}

// Reads from the front of a message; what lies beyond its end reads as zero, and is_broken says so.
class Reader {
 public:
  Reader(std::string_view message, size_t at) : message_(message), at_(at) {}

  uint16_t u16() {
    if (!has(2)) return 0;
    uint16_t value = static_cast<uint16_t>(byte(at_) << 8 | byte(at_ + 1));
    at_ += 2;
    return value;
  }

  uint32_t u32() {
    uint32_t high = u16();
    return high << 16 | u16();
  }

  std::string_view bytes(size_t count) {
    if (!has(count)) return {};
    at_ += count;
    return message_.substr(at_ - count, count);
  }

  std::string name() {
    char text[NS_MAXDNAME];
    const unsigned char* start = reinterpret_cast<const unsigned char*>(message_.data());
    int size = has(1) ? dn_expand(start, start + message_.size(), start + at_, text, sizeof text) : -1;
    if (size < 0) {
      is_broken_ = true;
      return {};
    }
    at_ += static_cast<size_t>(size);
    return text[0] == '\0' ? "." : text;
  }

  size_t at() const { return at_; }
  bool is_broken() const { return is_broken_; }

 private:
  bool has(size_t count) {
    is_broken_ = is_broken_ || message_.size() - at_ < count;
    return !is_broken_;
  }
  unsigned byte(size_t at) const { return static_cast<unsigned char>(message_[at]); }

  std::string_view message_;
  size_t at_;  // never beyond the end
  bool is_broken_ = false;
};

struct Header {
  uint16_t id, flags, questions, answers, authorities;
  bool is_reply() const { return (flags & 0x8000) != 0; }
  uint16_t code() const { return flags & 15; }
};

// The message is long enough for one.
Header header_of(std::string_view message) {
  Reader reader(message, 0);
  Header header{};
  for (uint16_t* field : {&header.id, &header.flags, &header.questions, &header.answers, &header.authorities})
    *field = reader.u16();
  return header;
}

struct Row {
  uint16_t type = 0;
  Duration life;
  std::string_view data;
  size_t data_at = 0;
};

Row read_row(Reader& reader) {
  Row row;
  reader.name();
  row.type = reader.u16();
  reader.u16();  // the class: what we have asked for, there is no other
  uint32_t ttl = reader.u32();
  row.life = sec(ttl > INT32_MAX ? 0 : ttl);  // RFC 2181, 8
  uint16_t size = reader.u16();
  row.data_at = reader.at();
  row.data = reader.bytes(size);
  return row;
}

std::optional<DnsRecord> read_record(std::string_view message, const Row& row, DnsType type) {
  DnsRecord record;
  if (type == DnsType::srv) {
    Reader reader(message.substr(0, row.data_at + row.data.size()), row.data_at);
    for (uint16_t* field : {&record.priority, &record.weight, &record.port}) *field = reader.u16();
    record.target = reader.name();
    return reader.is_broken() ? std::nullopt : std::optional(std::move(record));
  }
  char text[INET6_ADDRSTRLEN];
  bool is_v4 = type == DnsType::a;
  if (row.data.size() != (is_v4 ? 4u : 16u)) return std::nullopt;
  record.target = inet_ntop(is_v4 ? AF_INET : AF_INET6, row.data.data(), text, sizeof text);
  return record;
}

std::string code_name(uint16_t code) {
  switch (code) {
    case 1: return "FORMERR";
    case 2: return "SERVFAIL";
    case 4: return "NOTIMP";
    case 5: return "REFUSED";
    default: return "code " + std::to_string(code);
  }
}

}  // namespace

std::optional<std::string> make_dns_query(uint16_t id, std::string_view name, DnsType type) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > 253) return std::nullopt;
  std::string query;
  for (uint16_t field : {id, uint16_t{0x0100}, uint16_t{1}, uint16_t{0}, uint16_t{0}, uint16_t{0}})
    put16(&query, field);  // 0x0100: the server shall ask others
  while (true) {
    std::string_view label = name.substr(0, name.find('.'));
    if (label.empty() || label.size() > 63) return std::nullopt;
    query.push_back(static_cast<char>(label.size()));
    query += label;
    if (label.size() == name.size()) break;
    name.remove_prefix(label.size() + 1);
  }
  query.push_back('\0');
  put16(&query, static_cast<uint16_t>(type));
  put16(&query, 1);  // the Internet
  return query;
}

bool is_dns_reply(std::string_view message, std::string_view query) {
  if (message.size() < header_bytes) return false;
  Header header = header_of(message);
  if (header.id != header_of(query).id || !header.is_reply()) return false;
  // A server that does not understand the question may leave it out.
  if (header.questions == 0) return header.code() != 0;
  std::string_view asked = query.substr(header_bytes), said = message.substr(header_bytes).substr(0, asked.size());
  return header.questions == 1 && std::equal(asked.begin(), asked.end(), said.begin(), said.end(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
         });
}

bool is_dns_truncated(std::string_view message) { return (header_of(message).flags & 0x0200) != 0; }

Result<DnsAnswer> parse_dns_reply(std::string_view message, DnsType type) {
  Header header = header_of(message);
  constexpr uint16_t no_such_name = 3;
  if (header.code() != 0 && header.code() != no_such_name) return unavailable("it answers " + code_name(header.code()));
  const Status broken = unavailable("its answer is broken");
  Reader reader(message, header_bytes);
  for (uint16_t at = 0; at < header.questions; at++) {
    reader.name();
    reader.u32();
  }
  DnsAnswer answer;
  std::optional<Duration> life, nothing_for;
  for (uint32_t at = 0; at < uint32_t{header.answers} + header.authorities; at++) {
    Row row = read_row(reader);
    if (reader.is_broken()) return broken;
    bool is_answer = at < header.answers, is_asked_for = row.type == static_cast<uint16_t>(type);
    if (is_answer && (is_asked_for || row.type == type_cname)) life = std::min(life.value_or(row.life), row.life);
    if (is_answer && is_asked_for) {
      std::optional<DnsRecord> record = read_record(message, row, type);
      if (!record) return broken;
      if (answer.records.size() == limits::dns_records_max)
        return unavailable("its answer has more than " + std::to_string(limits::dns_records_max) + " records");
      answer.records.push_back(std::move(*record));
    }
    // Its last number says how long there is nothing (RFC 2308, 5).
    if (!is_answer && row.type == type_soa && row.data.size() >= 4)
      nothing_for = std::min(row.life, sec(Reader(row.data, row.data.size() - 4).u32()));
  }
  answer.life = (answer.records.empty() ? nothing_for : life).value_or(Duration());
  return answer;
}

}  // namespace nebula
