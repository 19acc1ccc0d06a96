// service/balancer/load.cc - a report's bytes, and a node's weight.
#include "service/balancer/load.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace nebula {

namespace {

// Protobuf's wire format, as far as four numbers need it.
class Wire {
 public:
  explicit Wire(std::string_view left) : left_(left) {}

  bool is_over() const { return left_.empty(); }

  bool varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !left_.empty(); shift += 7) {
      uint64_t byte = static_cast<unsigned char>(left_[0]);
      left_.remove_prefix(1);
      *value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool skip(uint64_t bytes) {
    if (bytes > left_.size()) return false;
    left_.remove_prefix(bytes);
    return true;
  }
  bool number(double* value) {
    if (left_.size() < 8) return false;
    uint64_t bits = 0;
    for (int at = 7; at >= 0; at--) bits = bits << 8 | static_cast<unsigned char>(left_[static_cast<size_t>(at)]);
    *value = std::bit_cast<double>(bits);
    return skip(8);
  }

 private:
  std::string_view left_;
};

bool is_sane(double value) { return std::isfinite(value) && value >= 0; }

}  // namespace

std::optional<LoadReport> LoadReport::parse(std::string_view message) {
  enum Field { cpu = 1, rps_fractional = 6, eps_field = 7, application = 9 };
  double numbers[10] = {};
  Wire wire(message);
  while (!wire.is_over()) {
    uint64_t key = 0, size = 0;
    double value = 0;
    if (!wire.varint(&key)) return std::nullopt;
    bool is_whole = false;
    switch (key & 7) {
      case 0: is_whole = wire.varint(&size); break;
      case 1: is_whole = wire.number(&value); break;
      case 2: is_whole = wire.varint(&size) && wire.skip(size); break;
      case 5: is_whole = wire.skip(4); break;
    }
    if (!is_whole) return std::nullopt;
    if ((key & 7) == 1 && key >> 3 < std::size(numbers)) numbers[key >> 3] = value;
  }
  LoadReport report{numbers[application], numbers[rps_fractional], numbers[eps_field]};
  if (report.utilization == 0) report.utilization = numbers[cpu];
  if (!is_sane(report.utilization) || !is_sane(report.qps) || !is_sane(report.eps)) return std::nullopt;
  return report.utilization > 0 && report.qps > 0 ? std::optional(report) : std::nullopt;
}

void ReportedLoad::add(const LoadReport& report, Time now, const LoadOptions& options) {
  double weight = report.qps / (report.utilization + report.eps / report.qps * options.errors);
  if (!std::isfinite(weight) || weight <= 0) return;
  if (since_ == Time{} || now - last_ >= options.expiry) since_ = now;
  last_ = now;
  weight_ = weight;
}

double ReportedLoad::weight(Time now, const LoadOptions& options) const {
  if (since_ == Time{} || now - last_ >= options.expiry || now - since_ < options.blackout) return 0;
  return weight_;
}

}  // namespace nebula
