// base/log.h - lines for the person who runs the program.
//
// One sink per engine. Writing is safe from any thread: a line is one write(2).
#pragma once

#include <cstdint>
#include <string_view>

namespace nebula {

enum class Level : uint8_t { debug = 0, info = 1, warn = 2, error = 3, off = 4 };

class Log {
 public:
  explicit Log(Level least) : least_(least) {}

  // The level of that name; `otherwise` if there is none such.
  static Level level_of(std::string_view name, Level otherwise);

  bool wants(Level level) const { return level >= least_; }
  void write(Level level, std::string_view line) const;  // to stderr, "nebula: warn: line"

 private:
  Level least_;
};

}  // namespace nebula

// The line is only made when somebody wants it.
#define NEBULA_LOG(log, level, line)                          \
  do {                                                        \
    if ((log).wants(::nebula::Level::level))                  \
      (log).write(::nebula::Level::level, line);              \
  } while (false)
