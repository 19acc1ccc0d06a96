// service/balancer/load.h - what a node says of its own load (ORCA, gRFC A51), and the weight that follows (gRFC A58).
//
// A node that answers 300 calls a second at half of its strength is worth 600: its weight is calls a second by
// utilization, and failed calls count as load. It counts after a while of reports, and for a while after the last.
#pragma once

#include <optional>
#include <string_view>

#include "base/time.h"

namespace nebula {

// Of one call, in its trailer "endpoint-load-metrics-bin".
struct LoadReport {
  double utilization = 0;  // 1: all of its strength; the application's own figure, or else that of its processors
  double qps = 0;          // calls a second
  double eps = 0;          // of them, failed

  // An xds.data.orca.v3.OrcaLoadReport. Nothing where it is none, or gives no weight.
  static std::optional<LoadReport> parse(std::string_view message);
};

struct LoadOptions {
  Duration blackout = sec(10);  // reports must have come for so long before they count
  Duration expiry = sec(180);   // and count for so long after the last
  Duration update = sec(1);     // between two looks at all of them
  double errors = 1;            // how much load a share of failed calls is
};

// Pure: time comes in. A member of a node.
class ReportedLoad {
 public:
  void add(const LoadReport& report, Time now, const LoadOptions& options);
  void restart() { since_ = {}; }  // on a new connection: it may be another process
  double weight(Time now, const LoadOptions& options) const;  // 0: not known

 private:
  double weight_ = 0;
  Time since_;  // of the first report; zero: none
  Time last_;
};

}  // namespace nebula
