// fuzz/header_fuzz.cc - header fields as they come from the wire and from bindings: timeout, status, base64, blocks.
#include <cstdlib>

#include "input.h"
#include "rpc/grpc.h"

using namespace nebula;

namespace {

void expect(bool holds) {
  if (!holds) abort();
}

void try_text(std::string_view text) {
  grpc::codec_of(text);
  grpc::status_of_http(text);
  expect(grpc::percent_decode(grpc::percent_encode(text)) == text);
  grpc::percent_decode(text);
  if (std::optional<Duration> timeout = grpc::parse_timeout(text)) {
    // Written again it is never shorter, but for what eight digits of hours cannot say.
    std::optional<Duration> again = grpc::parse_timeout(grpc::format_timeout(*timeout));
    expect(again.has_value() && (*again >= *timeout || timeout->ns == INT64_MAX));
  }
}

// As it may be sent: spaces around a value are none of it (RFC 9113, 8.2.1).
std::string_view without_edges(const Field& field) {
  std::string_view value = field.value;
  if (is_binary(field.name)) return value;
  while (value.starts_with(' ')) value.remove_prefix(1);
  while (value.ends_with(' ')) value.remove_suffix(1);
  return value;
}

// Fields as HTTP/2 hands them over: any bytes.
void try_fields(fuzz::Input input) {
  Metadata wire;
  while (!input.empty() && wire.count() < 200) {
    std::string_view name = input.take(input.byte() % 24);
    wire.add(name, input.take(input.byte()));
  }
  grpc::ProtocolFields protocol;
  Result<Metadata> user = grpc::from_wire(wire, &protocol);
  static_cast<void>(grpc::find_status(protocol));
  if (!user.ok()) return;
  // What may be sent on arrives as it is, but for spaces at its ends.
  Result<Metadata> allowed = Metadata::from_user(user->block().data(), user->block().size());
  if (!allowed.ok()) return;
  Metadata again, expected;
  for (const Field& field : *allowed) expected.add(field.name, without_edges(field));
  grpc::to_wire(*allowed, &again);
  Result<Metadata> back = grpc::from_wire(again, &protocol);
  expect(back.ok() && back->block() == expected.block());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  switch (input.byte() % 3) {
    case 0: try_text(input.rest()); break;
    case 1: try_fields(input); break;
    default: {
      std::string_view block = input.rest();
      Result<Metadata> metadata = Metadata::from_user(block.data(), block.size());
      if (metadata.ok()) expect(metadata->block() == block);
    }
  }
  return 0;
}
