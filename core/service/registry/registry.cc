// service/registry/registry.cc - which names are allowed.
#include "service/registry/registry.h"

#include <algorithm>

#include "base/limits.h"

namespace nebula {

namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

}  // namespace

Status check_service_name(std::string_view service) {
  auto bad = [service](std::string_view why) {
    return invalid_argument("service name \"" + std::string(service) + "\": " + std::string(why));
  };
  if (service.empty()) return bad("it is empty");
  if (service.size() > limits::service_name_max)
    return bad("it is longer than " + std::to_string(limits::service_name_max) + " characters");
  if (service[0] == '.') return bad("it must not begin with a dot");
  if (!std::all_of(service.begin(), service.end(), is_name_character))
    return bad("only letters, digits, and _ . - are allowed");
  return {};
}

}  // namespace nebula
