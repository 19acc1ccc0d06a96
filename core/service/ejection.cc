// service/ejection.cc - mean, deviation, and who is beyond.
#include "service/ejection.h"

#include <algorithm>
#include <cmath>

#include "base/options.h"

namespace nebula {

namespace {

struct Rated {
  size_t index;
  double failures;

  bool operator<(const Rated& other) const {  // the worst first
    return failures != other.failures ? failures > other.failures : index < other.index;
  }
};

// Those that have had calls enough; none where they are too few.
std::vector<Rated> rate(const std::vector<Outcome>& outcomes, uint32_t nodes, uint32_t calls) {
  std::vector<Rated> rated;
  for (size_t at = 0; at < outcomes.size(); at++)
    if (outcomes[at].calls >= calls)
      rated.push_back({at, static_cast<double>(outcomes[at].failures) / outcomes[at].calls});
  if (rated.size() < nodes) rated.clear();
  return rated;
}

double mean_and_deviations(const std::vector<Rated>& rated, double deviations) {
  if (rated.empty()) return 1;
  double count = static_cast<double>(rated.size()), sum = 0, squares = 0;
  for (const Rated& each : rated) sum += each.failures;
  for (const Rated& each : rated) squares += (each.failures - sum / count) * (each.failures - sum / count);
  return sum / count + deviations * std::sqrt(squares / count);
}

}  // namespace

Result<EjectionOptions> EjectionOptions::parse(const Url& url) {
  EjectionOptions ejection;
  Options options(url);
  options.duration("interval", &ejection.interval).duration("first", &ejection.first).duration("most", &ejection.most);
  options.number("share", &ejection.share, 0, 1).number("deviations", &ejection.deviations, 0, 1'000'000);
  options.number("failures", &ejection.failures, 0, 1);
  options.count("nodes", &ejection.nodes, 2, 1'000'000).count("calls", &ejection.calls, 1, 1'000'000);
  ejection.failures_nodes = ejection.nodes;
  ejection.failures_calls = ejection.calls;
  options.count("failures_nodes", &ejection.failures_nodes, 2, 1'000'000);
  options.count("failures_calls", &ejection.failures_calls, 1, 1'000'000);
  if (Status status = options.status(); !status.ok()) return status;
  if (ejection.interval < ms(10)) return invalid_argument("\"" + url.text() + "\": interval is 10ms or more");
  if (ejection.most < ejection.first) return invalid_argument("\"" + url.text() + "\": most is no less than first");
  return ejection;
}

std::vector<size_t> find_outliers(const std::vector<Outcome>& outcomes, const EjectionOptions& options) {
  std::vector<Rated> found;
  auto find = [&found](const std::vector<Rated>& rated, double bound) {
    for (const Rated& each : rated)
      if (each.failures > bound) found.push_back(each);
  };
  find(rate(outcomes, options.failures_nodes, options.failures_calls), options.failures);
  std::vector<Rated> compared = rate(outcomes, options.nodes, options.calls);
  find(compared, mean_and_deviations(compared, options.deviations));

  std::sort(found.begin(), found.end());
  std::vector<size_t> indexes;
  for (const Rated& each : found)
    if (indexes.empty() || indexes.back() != each.index) indexes.push_back(each.index);
  return indexes;
}

}  // namespace nebula
