// rpc/run.h - messages of one stream that travel together, each behind the prefix that it has on the wire.
//
// To pass a small message from hand to hand costs more than to send it. What lies together in a DATA frame, or was
// submitted together, passes as one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"

namespace nebula {

inline constexpr size_t frame_prefix_bytes = 5;

struct Run {
  Bytes bytes;
  uint32_t count = 1;  // 1: that message alone, without a prefix; more: each behind its own, none is compressed
};

// Takes the first message of several.
Bytes take_first(Run* run);

// What lies at the front of bytes from the wire: so many whole messages, each of `message_bytes_max` at most, none of
// them compressed.
struct Extent {
  uint32_t count = 0;
  size_t bytes = 0;
};
Extent whole_messages(std::string_view wire, size_t message_bytes_max);

// All of it; nothing: it is something else than one or more of them.
std::optional<Run> run_of(Bytes wire);

}  // namespace nebula
