// http2/header_rules.h - which fields a head may have (RFC 9113, 8).
//
// A head against the rules is malformed, which ends its stream: what one of two readers drops and the other does not is
// how requests are smuggled. Plain values.
#pragma once

#include <cstdint>
#include <string_view>

namespace nebula {

enum class HeadKind : uint8_t { request, response, trailers };

// Follows the fields of one head.
class HeadRules {
 public:
  HeadRules() = default;
  explicit HeadRules(HeadKind kind) : kind_(kind) {}

  bool allows(std::string_view name, std::string_view value);  // the next field
  bool is_complete() const;                                    // at its end: all is there that must be

  // That the head promises; -1: it does not say.
  int64_t body_bytes() const { return status_ == 204 || status_ == 304 ? 0 : body_bytes_; }
  bool is_informational() const { return status_ / 100 == 1; }  // a response before the response

 private:
  enum Seen : uint8_t {
    method = 1, scheme = 2, path = 4, authority = 8, host = 16, is_connect = 32, is_options = 64, is_asterisk = 128
  };

  bool allows_pseudo(std::string_view name, std::string_view value);
  bool allows_of_request(std::string_view name, std::string_view value);
  bool allows_regular(std::string_view name, std::string_view value);
  bool once(Seen what);

  HeadKind kind_ = HeadKind::request;
  bool is_past_pseudo_ = false;
  uint8_t seen_ = 0;
  int status_ = 0;
  int64_t body_bytes_ = -1;
};

}  // namespace nebula
