// kit/raw_http2.cc - writing and cutting frames.
#include "kit/raw_http2.h"

namespace nebula::kit::raw {

namespace {

// An integer of HPACK with a prefix of seven bits (RFC 7541, 5.1); the eighth is 0, for no Huffman.
std::string length(size_t size) {
  if (size < 127) return std::string(1, static_cast<char>(size));
  std::string text(1, '\x7f');
  for (size -= 127; size >= 128; size >>= 7) text.push_back(static_cast<char>(0x80 | (size & 0x7f)));
  text.push_back(static_cast<char>(size));
  return text;
}

}  // namespace

std::string number(uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text.push_back(static_cast<char>(value >> shift));
  return text;
}

uint32_t number_at(std::string_view text, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; i++) value = value << 8 | static_cast<unsigned char>(text[at + i]);
  return value;
}

std::string frame(uint8_t type, uint8_t flags, uint32_t id, std::string_view payload) {
  std::string text = number(static_cast<uint32_t>(payload.size())).substr(1);
  text.push_back(static_cast<char>(type));
  text.push_back(static_cast<char>(flags));
  return text.append(number(id)).append(payload);
}

std::string setting(uint16_t name, uint32_t value) { return number(name).substr(2) + number(value); }

std::string block(const Fields& fields) {
  std::string text;
  for (const auto& [name, value] : fields)
    text.append(1, '\0').append(length(name.size())).append(name).append(length(value.size())).append(value);
  return text;
}

std::string head(uint32_t id, const Fields& fields, bool last) {
  return frame(headers, static_cast<uint8_t>(end_headers | (last ? end_stream : 0)), id, block(fields));
}

std::string request(uint32_t id, const Fields& more, bool last) {
  Fields fields = {{":method", "POST"}, {":scheme", "http"}, {":path", "/hello/greet"}, {":authority", "hello"},
                   {"te", "trailers"}, {"content-type", "application/grpc"}};
  fields.insert(fields.end(), more.begin(), more.end());
  return head(id, fields, last);
}

std::string hello() { return std::string(preface) + frame(settings, 0, 0, ""); }

std::vector<Frame> frames(std::string_view text) {
  if (text.starts_with(preface)) text.remove_prefix(preface.size());
  std::vector<Frame> found;
  while (text.size() >= 9) {
    size_t size = number_at(text, 0) >> 8;
    if (text.size() < 9 + size) break;
    found.push_back({static_cast<uint8_t>(text[3]), static_cast<uint8_t>(text[4]), number_at(text, 5) & 0x7fffffff,
                     std::string(text.substr(9, size))});
    text.remove_prefix(9 + size);
  }
  return found;
}

std::vector<Frame> frames_of(std::string_view text, uint8_t type) {
  std::vector<Frame> found = frames(text);
  std::erase_if(found, [type](const Frame& frame) { return frame.type != type; });
  return found;
}

}  // namespace nebula::kit::raw
