// capi/call.cc - what a binding does with a call: start, answer, cancel.
#include "base/limits.h"
#include "base/room.h"
#include "call_start.h"

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

constexpr uint32_t send_flags = NEBULA_END | NEBULA_COMPRESS | NEBULA_RUN | codec_flags;

int32_t send(uint64_t call, std::optional<Bytes> message, uint32_t flags) {
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::send);
  operation->call = call;
  operation->is_last = (flags & NEBULA_END) != 0;
  operation->compress = (flags & NEBULA_COMPRESS) != 0;
  if (flags & codec_flags) operation->codec = codec_of_flags(flags);
  if ((flags & NEBULA_RUN) != 0) {
    std::optional<Run> run = run_of(std::move(*message));
    if (!run) return NEBULA_E_ARGUMENT;
    operation->count = run->count;
    message = std::move(run->bytes);
  }
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
  return start_call(queue, method, tag, timeout_us, metadata, metadata_size, data, size, flags, 0);
}

int32_t nebula_call_headers(uint64_t call, const void* metadata, uint32_t metadata_size) {
  std::unique_ptr<Operation> operation = std::make_unique<Operation>(Operation::headers);
  operation->call = call;
  if (!read_metadata(metadata, metadata_size, &operation->metadata)) return NEBULA_E_ARGUMENT;
  return submit(call, Side::server, std::move(operation));
}

int32_t nebula_call_send(uint64_t call, const void* data, uint32_t size, uint32_t flags) {
  bool is_run = (flags & NEBULA_RUN) != 0;
  if (!are_flags(flags, send_flags)) return NEBULA_E_ARGUMENT;
  if (data == nullptr && (is_run || (flags & NEBULA_END) == 0)) return NEBULA_E_ARGUMENT;
  if (data == nullptr) return send(call, std::nullopt, flags);
  if (!is_run && size >= limits::room_looked_for_min && !has_room(call, size)) return finish(call, no_room_for(size));
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
