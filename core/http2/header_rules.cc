// http2/header_rules.cc - one table of characters, one look at each name.
#include "http2/header_rules.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace nebula {

namespace {

// What a character may be part of.
enum Of : uint8_t { name = 1, value = 2, path = 4, authority = 8, token = 16, scheme = 32 };

constexpr std::array<uint8_t, 256> table = [] {
  std::array<uint8_t, 256> of{};
  auto allow = [&](std::string_view characters, uint8_t what) {
    for (char c : characters) of[static_cast<uint8_t>(c)] |= what;
  };
  for (int c = 0x20; c < 256; c++)
    if (c != 0x7f) of[c] |= value;
  allow("\t", value);
  for (int c = 0x21; c < 256; c++)
    if (c != 0x7f) of[c] |= path;
  allow("abcdefghijklmnopqrstuvwxyz0123456789", name | token | authority | scheme);
  allow("ABCDEFGHIJKLMNOPQRSTUVWXYZ", token | authority | scheme);
  allow("!#$%&'*+-.^_`|~", name | token);            // RFC 9110, 5.6.2
  allow("-._~!$&'()*+,;=:[]%", authority);           // RFC 3986, 3.2, without the user that RFC 9113 forbids
  allow("+-.", scheme);                              // RFC 3986, 3.1
  return of;
}();

bool is_all(std::string_view text, Of what) {
  uint8_t common = what;
  for (char c : text) common &= table[static_cast<uint8_t>(c)];
  return common != 0;
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// RFC 9113, 8.2.1.
bool is_value(std::string_view text) {
  return text.empty() || (is_all(text, value) && !is_blank(text.front()) && !is_blank(text.back()));
}

bool is_same_word(std::string_view text, std::string_view lower) {
  auto fold = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), [&](char a, char b) { return fold(a) == b; });
}

// -1: it is no number.
int64_t number_of(std::string_view text) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool is_number = error == std::errc() && end == text.data() + text.size() && text[0] != '-';
  return is_number ? number : -1;
}

}  // namespace

bool HeadRules::once(Seen what) {
  bool is_first = (seen_ & what) == 0;
  seen_ |= what;
  return is_first;
}

bool HeadRules::allows(std::string_view name, std::string_view value) {
  if (name.empty()) return false;
  if (name[0] == ':') return !is_past_pseudo_ && allows_pseudo(name, value);
  is_past_pseudo_ = true;
  return is_all(name, Of::name) && is_value(value) && allows_regular(name, value);
}

bool HeadRules::allows_pseudo(std::string_view name, std::string_view value) {
  if (value.empty() || kind_ == HeadKind::trailers) return false;
  if (kind_ == HeadKind::request) return allows_of_request(name, value);
  if (name != ":status" || status_ != 0 || value.size() != 3) return false;
  status_ = static_cast<int>(number_of(value));
  // 101 is of HTTP/1.1 (RFC 9113, 8.6).
  return status_ >= 100 && status_ != 101;
}

bool HeadRules::allows_of_request(std::string_view name, std::string_view value) {
  if (name == ":path") {
    if (value[0] != '/') seen_ |= is_asterisk;
    return is_all(value, Of::path) && (value[0] == '/' || value == "*") && once(path);
  }
  if (name == ":authority") return is_all(value, Of::authority) && once(authority);
  if (name == ":method") {
    if (value == "CONNECT") seen_ |= is_connect;
    if (value == "OPTIONS") seen_ |= is_options;
    return is_all(value, Of::token) && once(method);
  }
  // A letter first (RFC 3986, 3.1).
  return name == ":scheme" && (value[0] | 0x20) >= 'a' && is_all(value, Of::scheme) && once(scheme);
}

// Those of a connection have no place here (RFC 9113, 8.2.2).
bool HeadRules::allows_regular(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 2: return name != "te" || is_same_word(value, "trailers");
    case 4:
      if (name != "host" || kind_ != HeadKind::request) return true;
      return !value.empty() && is_all(value, Of::authority) && once(host);
    case 7: return name != "upgrade";
    case 10: return name != "connection" && name != "keep-alive";
    case 14:
      if (name != "content-length") return true;
      if (body_bytes_ >= 0 || kind_ == HeadKind::trailers || is_informational()) return false;
      if (status_ == 204 && value != "0") return false;
      body_bytes_ = number_of(value);
      return body_bytes_ >= 0;
    case 16: return name != "proxy-connection";
    case 17: return name != "transfer-encoding";
    default: return true;
  }
}

bool HeadRules::is_complete() const {
  if (kind_ == HeadKind::response) return status_ != 0;
  if (kind_ == HeadKind::trailers) return true;
  bool has_authority = (seen_ & (authority | host)) != 0;
  if ((seen_ & is_asterisk) != 0 && (seen_ & is_options) == 0) return false;
  if ((seen_ & is_connect) != 0) return (seen_ & (scheme | path)) == 0 && (seen_ & authority) != 0;
  return (seen_ & (method | scheme | path)) == (method | scheme | path) && has_authority;
}

}  // namespace nebula
