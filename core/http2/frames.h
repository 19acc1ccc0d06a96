// http2/frames.h - the wire format of HTTP/2: types, flags, settings and the nine bytes before each frame (RFC 9113, 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nebula::h2 {

inline constexpr std::string_view client_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";  // 3.4

inline constexpr size_t frame_head_bytes = 9;
// What every peer takes (6.5.2). Larger frames were measured to be slower, so we neither send nor take any.
inline constexpr size_t frame_bytes_max = 16u << 10;
inline constexpr uint32_t stream_id_mask = 0x7fffffff;
inline constexpr int64_t window_max = 0x7fffffff;           // 6.9.1
inline constexpr int32_t window_bytes_default = 65'535;     // 6.9.2

// 6; what is not named here is ignored.
enum FrameType : uint8_t {
  data_frame = 0,
  headers_frame = 1,
  priority_frame = 2,
  rst_stream_frame = 3,
  settings_frame = 4,
  push_promise_frame = 5,
  ping_frame = 6,
  goaway_frame = 7,
  window_update_frame = 8,
  continuation_frame = 9,
};

inline constexpr uint8_t flag_end_stream = 1, flag_ack = 1, flag_end_headers = 4, flag_padded = 8, flag_priority = 0x20;

// 6.5.2
enum Setting : uint16_t {
  header_table_size = 1,
  enable_push = 2,
  max_concurrent_streams = 3,
  initial_window_size = 4,
  max_frame_size = 5,
  max_header_list_size = 6,
  enable_connect_protocol = 8,  // RFC 8441, 3
};
inline constexpr size_t setting_bytes = 6;

// 7, beside those of stream.h.
inline constexpr uint32_t protocol_error = 1, flow_control_error = 3, stream_closed = 5, frame_size_error = 6,
                          compression_error = 9, inadequate_security = 12;
std::string_view name_of_error(uint32_t code);

struct FrameHead {
  uint32_t length = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t id = 0;
  bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

inline uint32_t number_at(const char* at) {
  const uint8_t* byte = reinterpret_cast<const uint8_t*>(at);
  return uint32_t{byte[0]} << 24 | uint32_t{byte[1]} << 16 | uint32_t{byte[2]} << 8 | byte[3];
}

inline void put_number(char* at, uint32_t value) {
  at[0] = static_cast<char>(value >> 24);
  at[1] = static_cast<char>(value >> 16);
  at[2] = static_cast<char>(value >> 8);
  at[3] = static_cast<char>(value);
}

inline FrameHead frame_head_at(const char* at) {
  return {number_at(at) >> 8, static_cast<uint8_t>(at[3]), static_cast<uint8_t>(at[4]),
          number_at(at + 5) & stream_id_mask};
}

inline void put_frame_head(char* at, const FrameHead& head) {
  put_number(at, head.length << 8 | head.type);
  at[4] = static_cast<char>(head.flags);
  put_number(at + 5, head.id);
}

}  // namespace nebula::h2
