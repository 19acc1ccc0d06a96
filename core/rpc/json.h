// rpc/json.h - what little JSON the engine writes.
#pragma once

#include <string>
#include <string_view>

namespace nebula {

// A string with its quotes, as JSON has it.
inline std::string json_string(std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out.append({'\\', c});
    else if (byte < 0x20)
      out.append("\\u00").append({digits[byte >> 4], digits[byte & 15]});
    else
      out.push_back(c);
  }
  return out.append("\"");
}

}  // namespace nebula
