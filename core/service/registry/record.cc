// service/registry/record.cc - lines to a Record and back.
#include "service/registry/record.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/hash.h"
#include "base/limits.h"

namespace nebula {

namespace {

constexpr uint32_t record_version = 1;
// With the longest name of a service and all suffixes it still fits the 255 bytes of a file's name.
constexpr size_t instance_id_max = 32;

bool is_id_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

template <class T = uint32_t>
std::optional<T> number(std::string_view text, int base = 10) {
  T value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_alive_name(std::string_view name) {
  if (!name.ends_with(alive_suffix)) return false;
  return check_instance_id(name.substr(0, name.size() - alive_suffix.size())).ok();
}

}  // namespace

Status check_instance_id(std::string_view id) {
  if (!id.empty() && id.size() <= instance_id_max && std::all_of(id.begin(), id.end(), is_id_character)) return {};
  return invalid_argument("instance id \"" + std::string(id) + "\": only letters, digits, _ and - are allowed, 1 to " +
                          std::to_string(instance_id_max) + " of them");
}

Result<Record> Record::parse(std::string_view text) {
  Record record;
  std::optional<uint32_t> version;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    std::string_view name = line.substr(0, colon), value = line.substr(colon + 2);
    if (name == "nebula") {
      version = number(value);
    } else if (name == "service") {
      record.service = value;
    } else if (name == "instance") {
      record.endpoint.id = value;
    } else if (name == "url") {
      // A form of address that this version does not know is not a reason to lose the others.
      if (Result<Url> url = Url::parse(value); url.ok()) record.endpoint.urls.push_back(*url);
    } else if (name == "weight") {
      record.endpoint.weight = number(value).value_or(record.endpoint.weight);
    } else if (name == "draining") {
      record.endpoint.draining = value == "1";
    } else if (name == "health") {
      record.endpoint.unwell = value == "not_serving";
    } else if (name == "zone") {
      record.endpoint.zone = value;
    } else if (name == "group") {
      record.endpoint.group = value;
    } else if (name == "version") {
      record.endpoint.version = value;
    } else if (name == "label") {
      size_t equals = std::min(value.find('='), value.size());
      record.endpoint.labels.emplace(value.substr(0, equals), value.substr(std::min(equals + 1, value.size())));
    } else if (name == "started") {
      record.endpoint.started = number<int64_t>(value).value_or(0);
    } else if (name == "description") {
      record.endpoint.description = number<uint64_t>(value, 16).value_or(0);
    } else if (name == "alive" && is_alive_name(value)) {
      record.alive = value;
    }
  }
  if (version != record_version) return invalid_argument("it is not of version " + std::to_string(record_version));
  Status named = check_service_name(record.service);
  if (named.ok()) named = check_instance_id(record.endpoint.id);
  if (!named.ok()) return named;
  if (record.endpoint.urls.empty()) return invalid_argument("it has no address");
  return record;
}

std::string Record::text() const {
  std::string out = "nebula: " + std::to_string(record_version) + "\n";
  auto add = [&out](std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\n");
  };
  add("service", service);
  add("instance", endpoint.id);
  for (const Url& url : endpoint.urls) add("url", url.text());
  add("weight", std::to_string(endpoint.weight));
  if (endpoint.draining) add("draining", "1");
  if (endpoint.unwell) add("health", "not_serving");
  if (!endpoint.zone.empty()) add("zone", endpoint.zone);
  if (!endpoint.group.empty()) add("group", endpoint.group);
  if (!endpoint.version.empty()) add("version", endpoint.version);
  for (const auto& [name, value] : endpoint.labels) add("label", name + "=" + value);
  if (endpoint.started != 0) add("started", std::to_string(endpoint.started));
  if (endpoint.description != 0) add("description", hex64(endpoint.description));
  if (!alive.empty()) add("alive", alive);
  add("pid", std::to_string(getpid()));
  return out;
}

// A line break in an address, say, would be lines of its own for whoever reads this.
Result<std::string> Record::checked_text() const {
  std::string out = text();
  Result<Record> read = parse(out);
  if (read.ok() && read->endpoint == endpoint && out.size() <= limits::record_bytes_max) return out;
  return invalid_argument("what " + service + " says of itself cannot be written down" +
                          (read.ok() ? std::string(": it is longer than 16 KiB, or has line breaks")
                                     : ": " + std::string(read.status().message())));
}

std::string Record::file_name() const {
  std::string name = service;
  return name.append(".").append(endpoint.id).append(record_suffix);
}

}  // namespace nebula
