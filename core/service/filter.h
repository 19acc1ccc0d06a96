// service/filter.h - Filter: which instances of a service a channel uses, by what they say of themselves.
//
//   filter:?version=2&group=canary&zone=eu-1&label.tier=gold    those of which all of that is true
//   filter:?group=                                              those that belong to no group
//   filter:                                                     all
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/url.h"
#include "service/registry/registry.h"

namespace nebula {

class Filter {
 public:
  static Result<Filter> parse(const Url& url);

  // Those that match. `why_none`: where there are some and none does, what is wanted and what there is, for an error about
  // the service; else empty.
  EndpointList choose(const EndpointList& all, std::string_view service, std::string* why_none) const;

  bool operator==(const Filter&) const = default;

 private:
  bool matches(const Endpoint& endpoint) const;
  std::string words_of(const Endpoint& endpoint) const;

  std::vector<std::pair<std::string, std::string>> wanted_;  // "version", "label.tier": their values
};

}  // namespace nebula
