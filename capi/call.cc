// capi/call.cc - what a binding does with a call: start, answer, cancel.
#include "base/limits.h"
#include "base/room.h"
#include "border.h"
#include "handle.h"
#include "queue.h"

using namespace nebula;

namespace nebula {

Codec codec_of_flags(uint32_t flags) {
  return flags & NEBULA_JSON ? Codec::json : flags & NEBULA_PROTO ? Codec::proto : Codec::any;
}

Encoding encoding_of_flags(uint32_t flags) {
  return flags & NEBULA_GZIP ? Encoding::gzip : flags & NEBULA_ZSTD ? Encoding::zstd : Encoding::identity;
}

uint16_t flags_of_codec(Codec codec) {
  return codec == Codec::json ? NEBULA_JSON : codec == Codec::proto ? NEBULA_PROTO : 0;
}

}  // namespace nebula

namespace {

constexpr uint32_t codec_flags = NEBULA_JSON | NEBULA_PROTO;
constexpr uint32_t start_flags =
    NEBULA_END | NEBULA_COMPRESS | NEBULA_WANT_HEADERS | NEBULA_WAIT_FOR_READY | NEBULA_IDEMPOTENT | NEBULA_CHECK |
    codec_flags | compression_flags;
constexpr uint32_t send_flags = NEBULA_END | NEBULA_COMPRESS | codec_flags;

bool are_flags(uint32_t flags, uint32_t known) {
  return (flags & ~known) == 0 && (flags & codec_flags) != codec_flags && is_compression(flags & compression_flags);
}

Bytes copy_of(const void* data, uint32_t size) { return Bytes::copy({static_cast<const char*>(data), size}); }

// False: not a block of fields that may travel. Null with size 0 is none.
bool read_metadata(const void* block, uint32_t size, Metadata* out) {
  if (size == 0) return true;
  if (block == nullptr) return false;
  Result<Metadata> metadata = Metadata::from_user(block, size);
  if (metadata.ok()) *out = std::move(*metadata);
  return metadata.ok();
}

int32_t send(uint64_t call, std::optional<Bytes> message, uint32_t flags) {
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::send);
  operation->call = call;
  operation->is_last = (flags & NEBULA_END) != 0;
  operation->compress = (flags & NEBULA_COMPRESS) != 0;
  if (flags & codec_flags) operation->codec = codec_of_flags(flags);
  operation->message = std::move(message);
  return submit(call, Side::any, std::move(operation));
}

int32_t finish(uint64_t call, Status status, Metadata trailers = {}) {
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::finish);
  operation->call = call;
  operation->status = std::move(status);
  operation->metadata = std::move(trailers);
  return submit(call, Side::server, std::move(operation));
}

}  // namespace

extern "C" {

uint64_t nebula_call_start(nebula_queue* queue, uint64_t method, uint64_t tag, uint64_t timeout_us,
                           const void* metadata, uint32_t metadata_size, const void* data, uint32_t size,
                           uint32_t flags) {
  if (queue == nullptr || !are_flags(flags, start_flags) || queue->engine->is_forked()) return 0;
  if ((flags & (NEBULA_CHECK | NEBULA_JSON)) == NEBULA_CHECK) return 0;
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::start);
  if (!read_metadata(metadata, metadata_size, &operation->metadata)) return 0;
  std::shared_ptr<const ClientMethod> known = find_method(method);
  if (known == nullptr || known->target->engine != queue->engine) return 0;
  operation->is_last = (flags & NEBULA_END) != 0;
  Shape shape = known->method.shape;
  if (!streams_requests(shape) && (data == nullptr || !operation->is_last)) return 0;

  // The deadline counts from now, not from the turn in which the queue takes the call up.
  constexpr uint64_t timeout_us_max = INT64_MAX / 1000;
  Time deadline = timeout_us == 0 || timeout_us > timeout_us_max
                      ? Time::never()
                      : monotonic_now() + us(static_cast<int64_t>(timeout_us));
  std::unique_ptr<ClientRecord> record = std::make_unique<ClientRecord>(queue->calls(), queue, tag, known, deadline);
  record->wants_headers = (flags & NEBULA_WANT_HEADERS) != 0;
  record->holds = known->holds;
  record->facts.path = known->method.path;
  record->facts.shape = shape;
  record->facts.deadline = deadline;
  record->facts.has_said_end = operation->is_last;
  operation->wait_for_ready = (flags & NEBULA_WAIT_FOR_READY) != 0;
  operation->check = (flags & NEBULA_CHECK) != 0;
  operation->is_idempotent = (flags & NEBULA_IDEMPOTENT) != 0;
  operation->codec = codec_of_flags(flags);
  operation->compress = (flags & NEBULA_COMPRESS) != 0;
  operation->encoding = flags & compression_flags ? encoding_of_flags(flags) : known->target->encoding;
  if (data != nullptr) operation->message = copy_of(data, size);
  if (data != nullptr && streams_requests(shape)) record->facts.unsent = size + limits::event_bytes;
  uint64_t id = record->id = add_call(queue, &queue->calls(), Side::client, &record->facts);
  if (id == 0) return 0;
  queue->calls().post_start(std::move(record), std::move(operation));
  return id;
}

int32_t nebula_call_headers(uint64_t call, const void* metadata, uint32_t metadata_size) {
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::headers);
  operation->call = call;
  if (!read_metadata(metadata, metadata_size, &operation->metadata)) return NEBULA_E_ARGUMENT;
  return submit(call, Side::server, std::move(operation));
}

int32_t nebula_call_send(uint64_t call, const void* data, uint32_t size, uint32_t flags) {
  if (!are_flags(flags, send_flags) || (data == nullptr && (flags & NEBULA_END) == 0)) return NEBULA_E_ARGUMENT;
  if (data == nullptr) return send(call, std::nullopt, flags);
  if (size >= limits::room_looked_for_min && !has_room(call, size)) return finish(call, no_room_for(size));
  return send(call, copy_of(data, size), flags);
}

int32_t nebula_call_give(uint64_t call, nebula_buffer* buffer, uint32_t flags) {
  if (buffer == nullptr) return NEBULA_E_ARGUMENT;
  Bytes message = Bytes::adopt(reinterpret_cast<Block*>(buffer));
  if (!are_flags(flags, send_flags)) return NEBULA_E_ARGUMENT;
  return send(call, std::move(message), flags);
}

int32_t nebula_call_finish(uint64_t call, int32_t status, const char* message, const void* metadata,
                           uint32_t metadata_size) {
  if (status < 0 || status > 16) return NEBULA_E_ARGUMENT;
  Metadata trailers;
  if (!read_metadata(metadata, metadata_size, &trailers)) return NEBULA_E_ARGUMENT;
  return finish(call, Status(static_cast<Code>(status), message == nullptr ? "" : message), std::move(trailers));
}

int32_t nebula_call_cancel(uint64_t call, int32_t status) {
  if (status < 1 || status > 16) return NEBULA_E_ARGUMENT;
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::cancel);
  operation->call = call;
  operation->status = Status(static_cast<Code>(status), "cancelled on this side");
  return submit(call, Side::any, std::move(operation));
}

int32_t nebula_call_consume(uint64_t call, uint64_t bytes) {
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::consume);
  operation->call = call;
  operation->value = bytes;
  return submit(call, Side::any, std::move(operation));
}

int32_t nebula_call_tag(uint64_t call, uint64_t tag) {
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::tag);
  operation->call = call;
  operation->value = tag;
  return submit(call, Side::any, std::move(operation));
}

int32_t nebula_call_describe(uint64_t call, nebula_call_info* out) {
  if (out == nullptr || out->size != sizeof *out) return NEBULA_E_ARGUMENT;
  return describe(call, out);
}

}  // extern "C"
