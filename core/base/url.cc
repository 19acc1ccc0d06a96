// base/url.cc - parse and print; RFC 3986 as far as names of drivers need it.
#include "base/url.h"

#include <charconv>

namespace nebula {

namespace {

bool is_scheme(std::string_view text) {
  if (text.empty() || text[0] < 'a' || text[0] > 'z') return false;
  for (char c : text)
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == '_')) return false;
  return true;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// False: a % without two hex digits behind it.
bool decode(std::string_view text, std::string* out) {
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '%') {
      out->push_back(text[i]);
      continue;
    }
    int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) return false;
    out->push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return true;
}

void encode(std::string_view text, std::string* out) {
  constexpr char digits[] = "0123456789ABCDEF";
  for (char c : text) {
    if (c > ' ' && c <= '~' && c != '%' && c != '&' && c != '=' && c != '#' && c != '+') {
      out->push_back(c);
    } else {
      unsigned char byte = static_cast<unsigned char>(c);
      out->append({'%', digits[byte >> 4], digits[byte & 15]});
    }
  }
}

Status bad(std::string_view text, std::string_view why) {
  return invalid_argument("address \"" + std::string(text) + "\": " + std::string(why));
}

// "host:port", "[v6]:port", "host"; false: the port is none.
bool parse_authority(std::string_view authority, Url* url) {
  std::string_view port;
  if (authority.starts_with('[')) {
    size_t close = authority.find(']');
    if (close == std::string_view::npos) return false;
    url->host = authority.substr(1, close - 1);
    std::string_view rest = authority.substr(close + 1);
    if (rest.empty()) return true;
    if (rest[0] != ':') return false;
    port = rest.substr(1);
  } else {
    size_t colon = authority.rfind(':');
    url->host = authority.substr(0, colon);
    if (colon == std::string_view::npos) return true;
    port = authority.substr(colon + 1);
  }
  uint16_t number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || port.empty()) return false;
  url->port = number;
  return true;
}

}  // namespace

Result<Url> Url::parse(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos || !is_scheme(text.substr(0, colon)))
    return bad(text, "it must begin with a scheme, as tcp://127.0.0.1:8080 or unix:/run/my.sock");
  Url url;
  url.scheme = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 1);
  std::string_view query;
  if (size_t mark = rest.find('?'); mark != std::string_view::npos) {
    query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    size_t slash = rest.find('/');
    if (!parse_authority(rest.substr(0, slash), &url)) return bad(text, "the port must be a number from 0 to 65535");
    if (url.host.find_first_of("[]") != std::string::npos) return bad(text, "brackets go around an IPv6 address alone");
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  }
  url.path = rest;
  while (!query.empty()) {
    size_t amp = query.find('&');
    std::string_view pair = query.substr(0, amp);
    query = amp == std::string_view::npos ? std::string_view() : query.substr(amp + 1);
    size_t equals = pair.find('=');
    std::string name, value;
    if (!decode(pair.substr(0, equals), &name) ||
        (equals != std::string_view::npos && !decode(pair.substr(equals + 1), &value)))
      return bad(text, "a % must be followed by two hex digits");
    url.query.emplace_back(std::move(name), std::move(value));
  }
  return url;
}

std::string Url::text() const {
  std::string out = scheme + ":";
  if (!host.empty() || port) {
    out.append("//").append(authority());
  } else if (path.starts_with("//")) {
    out.append("//");  // no host, said outright: else the path's own slashes would announce one
  }
  out.append(path);
  char separator = '?';
  for (const auto& [name, value] : query) {
    out.push_back(std::exchange(separator, '&'));
    encode(name, &out);
    out.push_back('=');
    encode(value, &out);
  }
  return out;
}

std::string Url::authority() const {
  std::string out = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port) out.append(":").append(std::to_string(*port));
  return out;
}

std::optional<std::string_view> Url::option(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name) return value;
  return std::nullopt;
}

void Url::set_option(std::string_view name, std::string value) {
  for (auto& [known, current] : query) {
    if (known != name) continue;
    current = std::move(value);
    return;
  }
  query.emplace_back(name, std::move(value));
}

}  // namespace nebula
