// http2/bdp.cc - one PING at a time, one division.
#include "http2/bdp.h"

namespace nebula {

// Data between two PINGs is also what keeps a gRPC server from counting them as strikes (gRFC A8).
bool BdpProbe::on_data(Time now, size_t bytes) {
  if (is_out_) return false;
  bytes_ += bytes;
  if (bytes_ < limits::bdp_bytes_min || now < next_) return false;
  bytes_ = 0;
  sent_ = now;
  return is_out_ = true;
}

void BdpProbe::on_answer(Time now) {
  is_out_ = false;
  next_ = now + limits::bdp_pause;
  round_trip_ = now - sent_;
  shortest_ = std::min(shortest_, round_trip_);
}

int32_t BdpProbe::window_for(const StreamWindow& window) const {
  if (round_trip_ == Duration{}) return window.bytes;
  double share = static_cast<double>(shortest_.ns) / static_cast<double>(round_trip_.ns);
  int64_t product = static_cast<int64_t>(static_cast<double>(window.sample()) * share);
  if (3 * product < 2 * int64_t{window.bytes}) return window.bytes;
  return static_cast<int32_t>(std::clamp<int64_t>(2 * product, window.bytes, limits::stream_window_max));
}

}  // namespace nebula
