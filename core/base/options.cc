// base/options.cc - text to values, and the words where that does not work.
#include "base/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace nebula {

namespace {

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string plain(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  return text.ends_with('.') ? text.substr(0, text.size() - 1) : text;
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    Duration length;
  };
  // The longer names first: "ms" ends in "s".
  for (const Unit& unit : {Unit{"us", us(1)}, {"ms", ms(1)}, {"s", sec(1)}, {"m", sec(60)}, {"h", sec(3600)}}) {
    if (!text.ends_with(unit.name)) continue;
    std::optional<double> count = parse_number(text.substr(0, text.size() - unit.name.size()));
    if (!count || *count < 0 || *count > 1e9) return std::nullopt;
    double ns = *count * static_cast<double>(unit.length.ns);
    return ns < 9e18 ? std::optional(nanos(static_cast<int64_t>(ns))) : std::nullopt;
  }
  return std::nullopt;
}

Options& Options::number(std::string_view name, double* value, double least, double most) {
  const std::string_view* text = find(name);
  if (text == nullptr) return *this;
  std::optional<double> parsed = parse_number(*text);
  if (parsed && *parsed >= least && *parsed <= most)
    *value = *parsed;
  else
    refuse(name, "a number from " + plain(least) + " to " + plain(most));
  return *this;
}

Options& Options::count(std::string_view name, uint32_t* value, uint32_t least, uint32_t most) {
  double parsed = *value;
  number(name, &parsed, least, most);
  if (parsed != std::floor(parsed))
    refuse(name, "a whole number");
  else
    *value = static_cast<uint32_t>(parsed);
  return *this;
}

Options& Options::duration(std::string_view name, Duration* value) {
  const std::string_view* text = find(name);
  if (text == nullptr) return *this;
  std::optional<Duration> parsed = parse_duration(*text);
  if (parsed)
    *value = *parsed;
  else
    refuse(name, "a time, as 200ms or 10s");
  return *this;
}

Options& Options::text(std::string_view name, std::string* value) {
  const std::string_view* text = find(name);
  if (text != nullptr) *value = *text;
  return *this;
}

Options& Options::one_of(std::string_view name, std::string* value, const std::vector<std::string_view>& known) {
  const std::string_view* text = find(name);
  if (text == nullptr) return *this;
  if (std::find(known.begin(), known.end(), *text) != known.end()) {
    *value = *text;
    return *this;
  }
  std::string words;
  for (std::string_view each : known) words.append(words.empty() ? "" : ", ").append(each);
  refuse(name, "one of " + words);
  return *this;
}

const std::string_view* Options::find(std::string_view name) {
  known_.push_back(name);
  std::optional<std::string_view> value = url_.option(name);
  if (!value) return nullptr;
  found_ = *value;
  return &found_;
}

void Options::refuse(std::string_view name, std::string_view what) {
  if (!failure_.ok()) return;
  failure_ = invalid_argument("\"" + url_.text() + "\": " + std::string(name) + " is " + std::string(what));
}

Status Options::status() const {
  if (!failure_.ok()) return failure_;
  if (!url_.host.empty() || url_.port || !url_.path.empty())
    return invalid_argument("\"" + url_.text() + "\": write " + url_.scheme + ": or " + url_.scheme + ":?option=value");
  for (const auto& [name, value] : url_.query) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    std::string words;
    for (std::string_view each : known_) words.append(words.empty() ? "" : ", ").append(each);
    return invalid_argument("\"" + url_.text() + "\": there is no option \"" + name + "\"; " +
                            (words.empty() ? "it has none" : "there are: " + words));
  }
  return {};
}

}  // namespace nebula
