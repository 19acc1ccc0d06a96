// sim/trace.cc - hashes, and prints.
#include "sim/trace.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "base/hash.h"

namespace nebula::sim {

void Trace::note(std::string_view what, std::string_view whom, std::string_view outcome) {
  count_++;
  mix(static_cast<uint64_t>(elapsed().ns));
  mix(what);
  mix(whom);
  mix(outcome);
  if (!prints_) return;
  std::string line(what);
  line.resize(std::max<size_t>(line.size() + 1, 18), ' ');
  line.append(whom).append(" ").append(outcome);
  std::printf("%14.6f ms  %s\n", static_cast<double>(elapsed().ns) / 1e6, line.c_str());
}

void Trace::note(std::string_view what, uint64_t whom, std::string_view outcome) {
  note(what, std::to_string(whom), outcome);
}

void Trace::mix(uint64_t value) {
  hash_ ^= value + 0x9e3779b97f4a7c15u + (hash_ << 6) + (hash_ >> 2);
  hash_ *= 0xff51afd7ed558ccdu;
  hash_ ^= hash_ >> 33;
}

void Trace::mix(std::string_view text) { mix(hash64(text)); }

}  // namespace nebula::sim
