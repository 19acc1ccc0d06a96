// kit/mangle.h - good bytes made bad, by a seed.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"

namespace nebula::kit {

// A few bytes flipped, cut out, doubled, or put in.
inline std::string mangled(std::string text, Random& random) {
  for (uint64_t edits = 1 + random.below(6); edits > 0 && !text.empty(); edits--) {
    size_t at = random.below(text.size());
    size_t size = std::min<size_t>(1 + random.below(20), text.size() - at);
    switch (random.below(4)) {
      case 0: text[at] = static_cast<char>(random.next()); break;
      case 1: text.erase(at, size); break;
      case 2: text.insert(at, text.substr(at, size)); break;
      case 3: text.insert(at, size, static_cast<char>(random.next())); break;
    }
  }
  return text;
}

// In pieces, small and large.
inline std::vector<std::string> pieces(std::string_view text, Random& random) {
  std::vector<std::string> pieces;
  uint64_t most = uint64_t{1} << random.between(1, 14);
  while (!text.empty()) {
    size_t size = std::min<size_t>(1 + random.below(most), text.size());
    pieces.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return pieces;
}

}  // namespace nebula::kit
