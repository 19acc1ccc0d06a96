// service/balancer/subset.cc - ranked by a hash, cut off.
#include "service/balancer/subset.h"

#include <algorithm>

#include "base/hash.h"
#include "base/random.h"

namespace nebula {

EndpointList subset_of(EndpointList all, size_t most, uint64_t client) {
  if (all.size() <= most) return all;
  std::vector<uint64_t> ranks;
  for (const Endpoint& each : all) ranks.push_back(Random(client ^ hash64(each.id)).next());
  std::vector<uint64_t> sorted = ranks;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(most), sorted.end());
  uint64_t bound = sorted[most];
  EndpointList chosen;
  for (size_t at = 0; at < all.size(); at++)
    if (ranks[at] < bound) chosen.push_back(std::move(all[at]));
  return chosen;
}

}  // namespace nebula
