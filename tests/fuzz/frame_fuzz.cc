// fuzz/frame_fuzz.cc - gRPC's message prefix: however the bytes are cut, the same messages come out.
#include <cstdlib>
#include <vector>

#include "input.h"
#include "rpc/frame.h"

using namespace nebula;

namespace {

constexpr size_t message_bytes_max = 1000;

// All that comes of the bytes when they arrive in pieces of that size; the last one is the error, if there is one.
std::vector<std::string> read(std::string_view bytes, size_t piece) {
  FrameReader reader(message_bytes_max);
  std::vector<std::string> messages;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(Bytes::copy(bytes.substr(at, piece)));
    while (true) {
      Result<std::optional<Bytes>> message = reader.next();
      if (!message.ok()) {
        messages.push_back(message.status().text());
        return messages;
      }
      if (!*message) break;
      if ((*message)->size() > message_bytes_max) abort();
      messages.emplace_back((*message)->view());
    }
  }
  return messages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  size_t piece = 1 + input.byte();
  std::string_view bytes = input.rest();
  if (read(bytes, piece) != read(bytes, bytes.size() + 1)) abort();

  // And what we frame ourselves comes out as it went in.
  std::string_view part = bytes.substr(0, message_bytes_max);
  Bytes framed = frame_message(Bytes::copy(part));
  std::vector<std::string> back = read(framed.view(), piece);
  if (back.size() != 1 || back[0] != part) abort();
  return 0;
}
