// capi/call_start.h - how a call starts: of both functions that do it, and what their arguments must be.
//
// Each has a copy, in a file of its own: to hand ten arguments on costs every call 11 instructions, and two copies in one
// file 31, as the compiler makes functions of the destructors then.
#pragma once

#include "base/limits.h"
#include "border.h"
#include "handle.h"
#include "queue.h"

namespace nebula {

inline constexpr uint32_t codec_flags = NEBULA_JSON | NEBULA_PROTO;
inline constexpr uint32_t start_flags =
    NEBULA_END | NEBULA_COMPRESS | NEBULA_WANT_HEADERS | NEBULA_WAIT_FOR_READY | NEBULA_IDEMPOTENT | NEBULA_CHECK |
    codec_flags | compression_flags;

inline bool are_flags(uint32_t flags, uint32_t known) {
  return (flags & ~known) == 0 && (flags & codec_flags) != codec_flags && is_compression(flags & compression_flags);
}

inline Bytes copy_of(const void* data, uint32_t size) { return Bytes::copy({static_cast<const char*>(data), size}); }

// False: not a block of fields that may travel. Null with size 0 is none.
inline bool read_metadata(const void* block, uint32_t size, Metadata* out) {
  if (size == 0) return true;
  if (block == nullptr) return false;
  Result<Metadata> metadata = Metadata::from_user(block, size);
  if (metadata.ok()) *out = std::move(*metadata);
  return metadata.ok();
}

[[gnu::always_inline]] inline uint64_t start_call(nebula_queue* queue, uint64_t method, uint64_t tag, uint64_t timeout_us,
                                                  const void* metadata, uint32_t metadata_size, const void* data,
                                                  uint32_t size, uint32_t flags, uint64_t parent) {
  if (queue == nullptr || !are_flags(flags, start_flags) || queue->engine->is_forked()) return 0;
  if ((flags & (NEBULA_CHECK | NEBULA_JSON)) == NEBULA_CHECK) return 0;
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::start);
  if (!read_metadata(metadata, metadata_size, &operation->metadata)) return 0;
  std::shared_ptr<const ClientMethod> found = find_method(method);
  if (found == nullptr || found->target->engine != queue->engine) return 0;
  const ClientMethod& known = *found;
  operation->is_last = (flags & NEBULA_END) != 0;
  Shape shape = known.method.shape;
  if (!streams_requests(shape) && (data == nullptr || !operation->is_last)) return 0;

  // The deadline counts from now, not from the turn in which the queue takes the call up.
  constexpr uint64_t timeout_us_max = INT64_MAX / 1000;
  Time deadline = timeout_us == 0 || timeout_us > timeout_us_max
                      ? Time::never()
                      : monotonic_now() + us(static_cast<int64_t>(timeout_us));
  std::unique_ptr<ClientRecord> record =
      std::make_unique<ClientRecord>(queue->calls(), queue, tag, std::move(found), deadline);
  record->wants_headers = (flags & NEBULA_WANT_HEADERS) != 0;
  record->reading = known.reading;
  record->facts.path = known.method.path;
  record->facts.shape = shape;
  record->facts.deadline = deadline;
  if (parent != 0) record->context.set_nested(nested_of(parent));
  record->facts.has_said_end = operation->is_last;
  operation->wait_for_ready = (flags & NEBULA_WAIT_FOR_READY) != 0;
  operation->check = (flags & NEBULA_CHECK) != 0;
  operation->is_idempotent = (flags & NEBULA_IDEMPOTENT) != 0;
  operation->codec = codec_of_flags(flags);
  operation->compress = (flags & NEBULA_COMPRESS) != 0;
  operation->encoding = flags & compression_flags ? encoding_of_flags(flags) : known.target->encoding;
  if (data != nullptr) operation->message = copy_of(data, size);
  if (data != nullptr && streams_requests(shape)) record->facts.unsent = size + limits::event_bytes;
  uint64_t id = record->id = add_call(queue, &queue->calls(), Side::client, &record->facts);
  if (id == 0) return 0;
  queue->calls().post_start(std::move(record), std::move(operation));
  return id;
}

}  // namespace nebula
