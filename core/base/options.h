// base/options.h - the options of a driver's URL: each of its kind, within its bounds; a name that is none is an error.
//
//   Options options(url);
//   options.number("open", &open, 0.01, 1).duration("first", &first);
//   if (!options.status().ok()) return options.status();
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "base/url.h"

namespace nebula {

class Options {
 public:
  explicit Options(const Url& url) : url_(url) {}  // which outlives it

  // Each leaves the value as it is where the URL does not name the option.
  Options& number(std::string_view name, double* value, double least, double most);
  Options& count(std::string_view name, uint32_t* value, uint32_t least, uint32_t most);
  Options& duration(std::string_view name, Duration* value);  // 20us, 200ms, 10s, 5m, 1h; not negative
  Options& text(std::string_view name, std::string* value);
  Options& one_of(std::string_view name, std::string* value, const std::vector<std::string_view>& known);

  // After all: invalid_argument for the first that is wrong, or that nobody has asked for, with those that there are.
  Status status() const;

 private:
  const std::string_view* find(std::string_view name);
  void refuse(std::string_view name, std::string_view what);

  const Url& url_;
  std::vector<std::string_view> known_;
  std::string_view found_;
  Status failure_;
};

// "200ms"; nothing if it is none.
std::optional<Duration> parse_duration(std::string_view text);

}  // namespace nebula
