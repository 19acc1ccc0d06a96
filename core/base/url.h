// base/url.h - the text that names a driver and its options: scheme, host, port, path, query.
//
//   tcp://127.0.0.1:80    host and port          unix:/run/a.sock     path
//   tcp://[::1]:0         brackets are dropped   mem:price            path
//   host:?dir=/tmp/x      query only             static:a:1,b:2       path
//   nebula://shop.Cart    host
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace nebula {

struct Url {
  std::string scheme;
  std::string host;             // only behind "//"
  std::optional<uint16_t> port; // only with a host
  std::string path;             // all that follows the authority; without "//" all that follows the scheme
  std::vector<std::pair<std::string, std::string>> query;  // percent-decoded

  static Result<Url> parse(std::string_view text);  // errors quote the text
  std::string text() const;
  std::string authority() const;  // host and port as a URL has them, an IPv6 address in brackets (RFC 3986, 3.2.2)

  std::optional<std::string_view> option(std::string_view name) const;
  void set_option(std::string_view name, std::string value);  // in place of what it was
  bool operator==(const Url&) const = default;
};

}  // namespace nebula
