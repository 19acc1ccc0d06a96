// service/ejection.h - nodes that fail clearly more often than the others of their channel (gRFC A50).
//
// Every while all are compared: by how far the share of good calls is under the mean of all, in standard deviations,
// and by a share of failures that is too much for anybody. Where few nodes have had calls enough there is nothing to
// compare. Pure. Owned by a channel, which leaves alone those that are found and asks them again later.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/url.h"

namespace nebula {

struct EjectionOptions {
  Duration interval = sec(10);      // between two looks
  Duration first = sec(30);         // a node is left alone for so long, and longer each time
  Duration most = sec(300);
  double share = 0.1;               // of all nodes that may be out at a time; one always may, and never the last
  uint32_t nodes = 5;               // to be compared
  uint32_t calls = 100;             // that each of them must have had since the last look
  double deviations = 1.9;
  double failures = 0.85;           // more than this share is too much
  uint32_t failures_nodes = 5;      // as nodes and calls, which are for the deviations; the same unless said otherwise
  uint32_t failures_calls = 100;

  uint32_t nodes_min() const { return nodes < failures_nodes ? nodes : failures_nodes; }
  static Result<EjectionOptions> parse(const Url& url);  // outliers:?interval=10s&share=0.1
};

// What came of the calls of one node since the last look.
struct Outcome {
  uint32_t calls = 0, failures = 0;
};

// The indexes of those to eject, the worst first.
std::vector<size_t> find_outliers(const std::vector<Outcome>& outcomes, const EjectionOptions& options);

}  // namespace nebula
