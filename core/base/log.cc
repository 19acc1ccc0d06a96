// base/log.cc - one line, one write.
#include "base/log.h"

#include <unistd.h>

#include <string>

namespace nebula {

namespace {
constexpr std::string_view names[] = {"debug", "info", "warn", "error", "off"};
}

Level Log::level_of(std::string_view name, Level otherwise) {
  for (size_t i = 0; i < std::size(names); i++)
    if (names[i] == name) return static_cast<Level>(i);
  return otherwise;
}

void Log::write(Level level, std::string_view line) const {
  if (!wants(level)) return;
  std::string text("nebula: ");
  text.append(names[static_cast<size_t>(level)]).append(": ").append(line).append("\n");
  // A closed or full stderr must not stop the engine, so the outcome is of no interest.
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace nebula
