// capi/border.h - what all files of the border share: the engine's handle, errors, options.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "engine.h"
#include "loop/fork.h"
#include "nebula.h"
#include "service/admin.h"
#include "transport/tls_options.h"

namespace nebula {
class Calls;
class IoThread;
}  // namespace nebula

struct nebula_engine {
  explicit nebula_engine(std::unique_ptr<nebula::Engine> engine);
  ~nebula_engine();

  std::unique_ptr<nebula::Engine> engine;
  uint64_t generation = nebula::fork_generation();
  std::mutex lock;
  std::vector<nebula::Calls*> calls;  // of each loop; a channel that is freed tells all of them
  uint64_t surveys_made = 0;          // capi/survey.h
  nebula::Admin::Access admin = nebula::Admin::Access::local;

  uint32_t io_threads_wanted = 0;
  std::mutex io_lock;
  std::vector<std::unique_ptr<nebula::IoThread>> io_threads;
  size_t io_next = 0;

  // In a fork child: the parent's threads, sockets and locks are not here.
  bool is_forked() const { return generation != nebula::fork_generation(); }
};

namespace nebula {

// NEBULA_E_... for what went wrong on the way to an object, and its words into *error (may be null).
int32_t fail(nebula_error* error, int32_t code, std::string_view message);
int32_t fail(nebula_error* error, const Status& status);
inline constexpr std::string_view forked_message =
    "this process was forked from the one that made the engine: make a new engine here";

// The caller's options, of whatever version, as this version knows them. False: they hold a field that is set and
// unknown, or no size.
template <class Options>
bool read_options(const Options* given, Options* out) {
  *out = Options{};
  if (given == nullptr) return true;
  uint32_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size < sizeof size) return false;
  const char* bytes = reinterpret_cast<const char*>(given);
  for (size_t i = sizeof(Options); i < size; i++)
    if (bytes[i] != 0) return false;
  std::memcpy(static_cast<void*>(out), bytes, size < sizeof(Options) ? size : sizeof(Options));
  return true;
}
inline constexpr std::string_view options_message =
    "options: size is not set, or a field is set that this version of the engine does not know";

// An option in milliseconds, where zero means "as it is".
inline void take_ms(uint32_t given, Duration* out) {
  if (given != 0) *out = ms(given);
}

// Puts settings of TLS, which may be null, into an address in place of those that it has; then tries the files that the
// address names. 0, or NEBULA_E_... with its words in *error.
int32_t apply_tls(const nebula_tls* tls, TlsSide side, Url* url, nebula_error* error);

// Microseconds until the deadline, at least 1; UINT64_MAX: none.
uint64_t microseconds_left(Time deadline, Time now);

// NEBULA_UNARY ... NEBULA_BIDI, and NEBULA_HOLD and NEBULA_RUNS or not.
inline constexpr int32_t reading_flags = NEBULA_HOLD | NEBULA_RUNS;
inline bool is_shape(int32_t shape) { return shape >= 0 && (shape & ~reading_flags) <= NEBULA_BIDI; }
inline Shape shape_of(int32_t shape) { return static_cast<Shape>(shape & ~reading_flags); }

Codec codec_of_flags(uint32_t flags);

// 0, NEBULA_GZIP or NEBULA_ZSTD, as flags and options have them.
inline constexpr uint32_t compression_flags = NEBULA_GZIP | NEBULA_ZSTD;
inline bool is_compression(uint32_t flags) { return flags == 0 || flags == NEBULA_GZIP || flags == NEBULA_ZSTD; }
Encoding encoding_of_flags(uint32_t flags);
uint16_t flags_of_codec(Codec codec);

}  // namespace nebula
