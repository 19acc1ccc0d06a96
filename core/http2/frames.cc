// http2/frames.cc - error codes by their names, for people.
#include "http2/frames.h"

#include <iterator>

namespace nebula::h2 {

std::string_view name_of_error(uint32_t code) {
  constexpr std::string_view names[] = {
      "NO_ERROR",          "PROTOCOL_ERROR",   "INTERNAL_ERROR",    "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
      "STREAM_CLOSED",     "FRAME_SIZE_ERROR", "REFUSED_STREAM",    "CANCEL",             "COMPRESSION_ERROR",
      "CONNECT_ERROR",     "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"};
  return code < std::size(names) ? names[code] : "unknown";
}

}  // namespace nebula::h2
