// service/balancer/subset.cc - ranked by a hash, cut off.
#include "service/balancer/subset.h"

#include <algorithm>

#include "base/hash.h"
#include "base/random.h"

namespace nebula {

EndpointList subset_of(EndpointList all, size_t most, uint64_t client) {
  if (all.size() <= most) return all;
  using Place = std::pair<uint32_t, uint64_t>;
  std::vector<Place> ranks;
  for (const Endpoint& each : all) ranks.emplace_back(each.rank, Random(client ^ hash64(each.id)).next());
  std::vector<Place> sorted = ranks;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(most), sorted.end());
  Place bound = sorted[most];
  EndpointList chosen;
  for (size_t at = 0; at < all.size(); at++)
    if (ranks[at] < bound) chosen.push_back(std::move(all[at]));
  return chosen;
}

}  // namespace nebula
