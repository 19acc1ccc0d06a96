// base/driver.h - the one shape of every extension point: a scheme, a usage line, a way to open.
//
// Every driver stands in one visible table, core/drivers.cc; none registers itself.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/url.h"

namespace nebula {

class Log;
class Loop;
class Network;
class Random;

// All that a driver may use of the world; there are no globals. The objects outlive whatever is made with them.
struct Env {
  Loop& loop;
  Network& network;
  Log& log;
  Random& random;
};

template <class T>
struct Driver {
  std::string_view scheme;  // "static"
  std::string_view usage;   // "static:host:port,host:port"
  Result<std::unique_ptr<T>> (*open)(const Url& url, const Env& env);
};

template <class T>
class DriverTable {
 public:
  Status add(const Driver<T>& driver) {  // already_exists on a second of that scheme
    if (knows(driver.scheme)) return already_exists("scheme " + std::string(driver.scheme) + ": is there twice");
    drivers_.push_back(driver);
    return {};
  }

  Result<std::unique_ptr<T>> open(const Url& url, const Env& env) const {
    const Driver<T>* driver = find(url.scheme);
    if (driver != nullptr) return driver->open(url, env);
    return invalid_argument("address \"" + url.text() + "\": unknown scheme \"" + url.scheme + "\"; known: " + usages());
  }

  bool knows(std::string_view scheme) const { return find(scheme) != nullptr; }

  std::string usages() const {  // "mem:name, tcp://host:port"
    std::string text;
    for (const Driver<T>& driver : drivers_) text.append(text.empty() ? "" : ", ").append(driver.usage);
    return text;
  }

 private:
  const Driver<T>* find(std::string_view scheme) const {
    for (const Driver<T>& driver : drivers_)
      if (driver.scheme == scheme) return &driver;
    return nullptr;
  }

  std::vector<Driver<T>> drivers_;
};

}  // namespace nebula
