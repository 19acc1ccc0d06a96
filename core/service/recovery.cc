// service/recovery.cc - down, on the way back, back.
#include "service/recovery.h"

#include <algorithm>
#include <cmath>

#include "base/options.h"

namespace nebula {

Result<RecoveryOptions> RecoveryOptions::parse(const Url& url) {
  RecoveryOptions recovery;
  Options options(url);
  options.number("working", &recovery.working, 0, 1).duration("hold", &recovery.hold);
  if (Status status = options.status(); !status.ok()) return status;
  return recovery;
}

void Recovery::see(size_t working, size_t nodes, Time now) {
  if (nodes_ >= most_) had_most_ = now;
  nodes_ = nodes;
  if (nodes >= most_ || now - had_most_ > options_.hold) most_ = nodes;
  if (working != working_) changed_ = now;
  has_worked_ |= working > 0;
  working_ = working;
  needed_ = static_cast<size_t>(std::ceil(options_.working * static_cast<double>(most_)));
  if (working > 0 && working >= needed_) is_down_ = false;
}

// While there is none that works a call fails for a better reason.
bool Recovery::admits(Time now, Random& random) {
  if (!is_down_ || working_ == 0) return true;
  if (now - changed_ >= options_.hold) is_down_ = false;
  return !is_down_ || random.below(needed_) < working_;
}

Status Recovery::refusal(std::string_view service) const {
  return unavailable("\"" + std::string(service) + "\" is coming back, with " + std::to_string(working_) + " of the " +
                     std::to_string(needed_) + " instances that are enough: until then some calls are turned away " +
                     "(policy recovery:)");
}

}  // namespace nebula
