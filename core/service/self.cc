// service/self.cc - variables, read and checked.
#include "service/self.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>

namespace nebula {

namespace {

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

Status take(const char* name, std::string* value) {
  *value = variable(name);
  return has_control(*value) ? invalid_argument(std::string(name) + ": it has a line break, or the like") : Status();
}

Status take_labels(std::string_view text, Labels* labels) {
  while (!text.empty()) {
    std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    size_t equals = one.find('=');
    if (equals == std::string_view::npos || equals == 0 || has_control(one))
      return invalid_argument("NEBULA_LABELS: \"" + std::string(one) + "\" is no label; write name=value,name=value");
    if (!labels->emplace(one.substr(0, equals), one.substr(equals + 1)).second)
      return invalid_argument("NEBULA_LABELS: \"" + std::string(one.substr(0, equals)) + "\" is there twice");
  }
  return {};
}

}  // namespace

Status describe_self(Endpoint* self) {
  Status status = take("NEBULA_ZONE", &self->zone);
  if (status.ok()) status = take("NEBULA_GROUP", &self->group);
  if (status.ok()) status = take("NEBULA_VERSION", &self->version);
  if (status.ok()) status = take_labels(variable("NEBULA_LABELS"), &self->labels);
  self->started = std::time(nullptr);  // for people and for other hosts; nothing is measured by it
  return status;
}

}  // namespace nebula
