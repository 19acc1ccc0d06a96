// fuzz/input.h - the fuzzer's bytes, taken piece by piece.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace nebula::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

  uint8_t byte() {
    if (rest_.empty()) return 0;
    uint8_t value = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }

  std::string_view take(size_t size) {
    std::string_view part = rest_.substr(0, size);
    rest_.remove_prefix(part.size());
    return part;
  }

 private:
  std::string_view rest_;
};

}  // namespace nebula::fuzz
