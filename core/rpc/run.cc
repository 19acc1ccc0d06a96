// rpc/run.cc - where one message ends and the next one begins.
#include "rpc/run.h"

namespace nebula {

namespace {

size_t size_at(const char* prefix) {
  const unsigned char* at = reinterpret_cast<const unsigned char*>(prefix);
  return static_cast<size_t>(at[1]) << 24 | static_cast<size_t>(at[2]) << 16 | static_cast<size_t>(at[3]) << 8 | at[4];
}

}  // namespace

Bytes take_first(Run* run) {
  size_t size = size_at(run->bytes.data());
  Bytes first = run->bytes.slice(frame_prefix_bytes, size);
  size_t gone = frame_prefix_bytes + size;
  if (--run->count == 1) gone += frame_prefix_bytes;
  run->bytes = run->bytes.slice(gone, run->bytes.size() - gone);
  return first;
}

Extent whole_messages(std::string_view wire, size_t message_bytes_max) {
  Extent extent;
  while (wire.size() - extent.bytes >= frame_prefix_bytes && wire[extent.bytes] == 0) {
    size_t size = size_at(wire.data() + extent.bytes);
    if (size > message_bytes_max || size > wire.size() - extent.bytes - frame_prefix_bytes) break;
    extent.bytes += frame_prefix_bytes + size;
    extent.count++;
  }
  return extent;
}

std::optional<Run> run_of(Bytes wire) {
  Extent all = whole_messages(wire.view(), SIZE_MAX);
  if (all.count == 0 || all.bytes != wire.size()) return std::nullopt;
  Run run{std::move(wire), all.count};
  if (run.count == 1) run.bytes = run.bytes.slice(frame_prefix_bytes, run.bytes.size() - frame_prefix_bytes);
  return run;
}

}  // namespace nebula
