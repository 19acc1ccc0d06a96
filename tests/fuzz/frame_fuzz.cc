// fuzz/frame_fuzz.cc - gRPC's messages: however the bytes are cut, the same come out, and none over the limit.
#include <cstdlib>
#include <vector>

#include "input.h"
#include "rpc/frame.h"

using namespace nebula;

namespace {

constexpr size_t message_bytes_max = 1000;

// All that comes of the bytes when they arrive in pieces of that size; the last one is the error, if there is one.
std::vector<std::string> read(std::string_view bytes, size_t piece, Encoding encoding) {
  FrameReader reader(message_bytes_max, encoding);
  std::vector<std::string> messages;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(Bytes::copy(bytes.substr(at, piece)));
    while (true) {
      Result<std::optional<Frame>> frame = reader.next();
      if (!frame.ok()) {
        messages.push_back(frame.status().text());
        return messages;
      }
      if (!*frame) break;
      if ((*frame)->is_compressed && encoding == Encoding::identity) abort();
      Result<Bytes> message = reader.open(std::move(**frame));
      if (message.ok() && (*message).size() > message_bytes_max) abort();
      if (!message.ok() && message.status().code() != Code::internal &&
          message.status().code() != Code::resource_exhausted)
        abort();
      messages.push_back(message.ok() ? std::string((*message).view()) : message.status().text());
    }
  }
  return messages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  size_t piece = 1 + input.byte();
  Encoding encoding = static_cast<Encoding>(input.byte() % 3);
  std::string_view bytes = input.rest();
  if (read(bytes, piece, encoding) != read(bytes, bytes.size() + 1, encoding)) abort();

  // And what we frame ourselves comes out as it went in.
  std::string_view part = bytes.substr(0, message_bytes_max);
  Bytes framed = frame_message(Bytes::copy(part), encoding);
  std::vector<std::string> back = read(framed.view(), piece, encoding);
  if (back.size() != 1 || back[0] != part) abort();
  return 0;
}
