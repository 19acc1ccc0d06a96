// unit/http2/header_rules_test.cc - what a head may say, field by field.
#include "http2/header_rules.h"

#include <criterion/criterion.h>

#include <string>
#include <utility>
#include <vector>

using namespace nebula;

namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

const Fields request = {{":method", "POST"}, {":scheme", "http"}, {":path", "/a/b"}, {":authority", "us"}};

bool is_allowed(HeadKind kind, const Fields& fields) {
  HeadRules rules(kind);
  for (const auto& [name, value] : fields)
    if (!rules.allows(name, value)) return false;
  return rules.is_complete();
}

// A request of the usual fields and this one.
bool is_allowed_beside(const std::string& name, const std::string& value) {
  Fields fields = request;
  fields.emplace_back(name, value);
  return is_allowed(HeadKind::request, fields);
}

}  // namespace

Test(header_rules, takes_what_grpc_sends) {
  cr_assert(is_allowed(HeadKind::request, request));
  for (auto [name, value] : Fields{{"te", "trailers"}, {"te", "Trailers"}, {"content-type", "application/grpc"}, {"x", ""},
                                   {"grpc-timeout", "1S"}, {"user-agent", "x/1 (a; b)"}, {"a_b.c-d!", "tab\tinside"},
                                   {"x-latin", "\xe9t\xe9"}, {"content-length", "0"}, {"host", "us:80"}})
    cr_assert(is_allowed_beside(name, value), "%s", name.c_str());
  cr_assert(is_allowed(HeadKind::response, {{":status", "200"}, {"content-type", "application/grpc"}}));
  cr_assert(is_allowed(HeadKind::trailers, {{"grpc-status", "0"}, {"grpc-message", ""}}));
}

Test(header_rules, refuses_names_and_values_that_nobody_may_send) {
  for (const char* name : {"", "Upper", "a b", "a:b", "a\n", "\x7f", "\xe9", "(x)", "connection", "keep-alive",
                           "proxy-connection", "transfer-encoding", "upgrade", ":unknown", ":status", ":protocol"})
    cr_assert(!is_allowed_beside(name, "x"), "%s", name);
  for (std::string value : {std::string("a\nb"), std::string("a\rb"), std::string("a\0b", 3), std::string("\x7f"),
                            std::string(" a"), std::string("a "), std::string("a\t")})
    cr_assert(!is_allowed_beside("x", value), "%s", value.c_str());
  cr_assert(!is_allowed_beside("te", "gzip"));
  for (const char* value : {"", "-1", "+1", "1x", "99999999999999999999"})
    cr_assert(!is_allowed_beside("content-length", value), "%s", value);
  cr_assert(!is_allowed_beside("host", "a b") && !is_allowed_beside("host", ""));
  cr_assert(!is_allowed(HeadKind::request, {request[0], request[1], request[2], request[3], {"content-length", "1"},
                                            {"content-length", "1"}}));
}

Test(header_rules, wants_each_pseudo_header_once_and_first) {
  for (size_t i = 0; i < request.size(); i++) {
    Fields without = request, twice = request, late = request;
    without.erase(without.begin() + static_cast<long>(i));
    cr_assert(!is_allowed(HeadKind::request, without), "without %s", request[i].first.c_str());
    twice.push_back(request[i]);
    cr_assert(!is_allowed(HeadKind::request, twice), "twice %s", request[i].first.c_str());
    late = without;
    late.emplace_back("x", "y");
    late.push_back(request[i]);
    cr_assert(!is_allowed(HeadKind::request, late), "late %s", request[i].first.c_str());
    Fields empty = request;
    empty[i].second.clear();
    cr_assert(!is_allowed(HeadKind::request, empty), "empty %s", request[i].first.c_str());
    cr_assert(!is_allowed(HeadKind::trailers, {request[i]}));
    cr_assert(!is_allowed(HeadKind::response, {{":status", "200"}, request[i]}));
  }
  cr_assert(is_allowed(HeadKind::request, {request[0], request[1], request[2], {"host", "us"}}));
  for (const char* path : {"a/b", "*", "/a b", "/a\n"})
    cr_assert(!is_allowed(HeadKind::request, {request[0], request[1], {":path", path}, request[3]}), "%s", path);
  cr_assert(is_allowed(HeadKind::request, {{":method", "OPTIONS"}, request[1], {":path", "*"}, request[3]}));
  cr_assert(is_allowed(HeadKind::request, {{":method", "CONNECT"}, request[3]}));
  cr_assert(!is_allowed(HeadKind::request, {{":method", "CONNECT"}, request[1], request[2], request[3]}));
  cr_assert(!is_allowed(HeadKind::request, {request[0], {":scheme", "1http"}, request[2], request[3]}));
  cr_assert(!is_allowed(HeadKind::request, {request[0], request[1], request[2], {":authority", "me@us"}}));
}

Test(header_rules, knows_what_a_response_promises) {
  for (const char* status : {"", "20", "2000", "abc", "101", "099", "-20"})
    cr_assert(!is_allowed(HeadKind::response, {{":status", status}}), "%s", status);
  cr_assert(!is_allowed(HeadKind::response, {{"x", "y"}}));
  cr_assert(!is_allowed(HeadKind::response, {{":status", "103"}, {"content-length", "0"}}));
  cr_assert(!is_allowed(HeadKind::response, {{":status", "204"}, {"content-length", "1"}}));
  cr_assert(!is_allowed(HeadKind::trailers, {{"content-length", "0"}}), "it comes too late");
  auto promised = [](const char* status, const char* length) {
    HeadRules rules(HeadKind::response);
    cr_assert(rules.allows(":status", status) && (*length == '\0' || rules.allows("content-length", length)));
    return rules.body_bytes();
  };
  cr_assert_eq(promised("200", ""), -1);
  cr_assert_eq(promised("200", "17"), 17);
  cr_assert_eq(promised("304", "17"), 0);
  cr_assert_eq(promised("204", ""), 0);
  HeadRules early(HeadKind::response);
  cr_assert(early.allows(":status", "103") && early.is_informational());
}
