// service/filter.cc - names and values, compared.
#include "service/filter.h"

#include <algorithm>
#include <map>

namespace nebula {

namespace {

constexpr std::string_view label_prefix = "label.";
constexpr size_t kinds_told = 5;  // of instances that do not match; the rest is a number

std::string_view value_of(const Endpoint& endpoint, std::string_view name) {
  if (name == "version") return endpoint.version;
  if (name == "group") return endpoint.group;
  if (name == "zone") return endpoint.zone;
  auto label = endpoint.labels.find(name.substr(label_prefix.size()));
  return label != endpoint.labels.end() ? std::string_view(label->second) : std::string_view();
}

void add_words(std::string* text, std::string_view name, std::string_view value) {
  text->append(text->empty() ? "" : " ");
  if (value.empty())
    text->append("no ").append(name);
  else
    text->append(name).append("=").append(value);
}

}  // namespace

Result<Filter> Filter::parse(const Url& url) {
  auto refused = [&url](const std::string& why) { return invalid_argument("\"" + url.text() + "\": " + why); };
  if (!url.host.empty() || url.port || !url.path.empty())
    return refused("write filter:?version=2&group=canary&zone=eu-1&label.tier=gold");
  Filter filter;
  for (const auto& [name, value] : url.query) {
    bool is_label = name.starts_with(label_prefix) && name.size() > label_prefix.size();
    if (!is_label && name != "version" && name != "group" && name != "zone")
      return refused("there is no option \"" + name + "\"; there are: version, group, zone, label.name");
    for (const auto& wanted : filter.wanted_)
      if (wanted.first == name) return refused(name + " is there twice");
    filter.wanted_.emplace_back(name, value);
  }
  return filter;
}

bool Filter::matches(const Endpoint& endpoint) const {
  return std::all_of(wanted_.begin(), wanted_.end(),
                     [&](const auto& wanted) { return value_of(endpoint, wanted.first) == wanted.second; });
}

std::string Filter::words_of(const Endpoint& endpoint) const {
  std::string text;
  for (const auto& [name, value] : wanted_) add_words(&text, name, value_of(endpoint, name));
  return text;
}

EndpointList Filter::choose(const EndpointList& all, std::string_view service, std::string* why_none) const {
  why_none->clear();
  EndpointList chosen;
  std::copy_if(all.begin(), all.end(), std::back_inserter(chosen), [this](const Endpoint& each) { return matches(each); });
  if (all.empty() || !chosen.empty()) return chosen;
  std::string wanted;
  for (const auto& [name, value] : wanted_) add_words(&wanted, name, value);
  std::map<std::string, size_t> kinds;
  for (const Endpoint& each : all) kinds[words_of(each)]++;
  std::string others;
  size_t told = 0;
  for (const auto& [words, count] : kinds) {
    if (told == kinds_told) others.append(", and others");
    if (told++ == kinds_told) break;
    others.append(others.empty() ? "" : ", ").append(words).append(" (").append(std::to_string(count)).append(")");
  }
  why_none->append("\"").append(service).append("\" has ").append(std::to_string(all.size()));
  why_none->append(all.size() == 1 ? " instance, but not with " : " instances, but none with ").append(wanted);
  why_none->append(", as its filter wants; announced: ").append(others);
  return chosen;
}

}  // namespace nebula
