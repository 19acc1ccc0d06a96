// base/hash.h - a 64-bit FNV-1a: for names, stable across machines and versions. Not against attackers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nebula {

constexpr uint64_t hash64(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// As text: sixteen digits.
inline std::string hex64(uint64_t hash) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text.push_back(digits[hash >> shift & 15]);
  return text;
}

}  // namespace nebula
