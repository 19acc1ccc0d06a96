// kit/raw_http2.h - HTTP/2 by hand: frames as bytes, for peers that do what no library would.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nebula::kit::raw {

inline constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// RFC 9113, 6.
inline constexpr uint8_t data = 0, headers = 1, rst_stream = 3, settings = 4, push_promise = 5, ping = 6, goaway = 7,
                         window_update = 8, continuation = 9;
inline constexpr uint8_t end_stream = 1, ack = 1, end_headers = 4;

struct Frame {
  uint8_t type;
  uint8_t flags;
  uint32_t id;
  std::string payload;
};

using Fields = std::vector<std::pair<std::string, std::string>>;

std::string number(uint32_t value);  // four bytes, in network order
uint32_t number_at(std::string_view text, size_t at);

std::string frame(uint8_t type, uint8_t flags, uint32_t id, std::string_view payload);
std::string setting(uint16_t name, uint32_t value);

// A header block of literals that are not indexed.
std::string block(const Fields& fields);
std::string head(uint32_t id, const Fields& fields, bool last);
std::string request(uint32_t id, const Fields& more = {}, bool last = false);  // a gRPC POST to /hello/greet

// What a client sends first: preface and empty SETTINGS.
std::string hello();

// Cuts whole frames out of what a session has written, after the preface if there is one.
std::vector<Frame> frames(std::string_view text);
std::vector<Frame> frames_of(std::string_view text, uint8_t type);

}  // namespace nebula::kit::raw
