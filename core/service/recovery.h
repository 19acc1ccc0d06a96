// service/recovery.h - how many calls get in while a name comes back of which nothing worked any more.
//
// Callers that have failed for a while come all together, and the first instance that is back would get what ten had: it
// falls over again, and so does the next. So once a call has found nobody, and until enough instances work, calls get in by
// chance, as large a share of them as there is of what is enough. When no further one has come for a while, these are all
// that there will be, and they get every call. Pure: time comes in. A member of a channel that wants it.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/random.h"
#include "base/result.h"
#include "base/time.h"
#include "base/url.h"

namespace nebula {

struct RecoveryOptions {
  double working = 0;       // the share of the nodes that is enough; 0: one is, so that every call gets in
  Duration hold = sec(10);  // for so long a further node is waited for

  static Result<RecoveryOptions> parse(const Url& url);  // recovery:?working=0.5&hold=10s
  bool operator==(const RecoveryOptions&) const = default;
};

class Recovery {
 public:
  explicit Recovery(const RecoveryOptions& options) : options_(options) {}

  void see(size_t working, size_t nodes, Time now);  // so many of so many, from now on
  void miss() { is_down_ |= has_worked_ && working_ == 0; }  // a call has ended without a node
  bool admits(Time now, Random& random);             // a call
  Status refusal(std::string_view service) const;    // of one that does not get in

 private:
  const RecoveryOptions options_;
  size_t working_ = 0, nodes_ = 0;
  size_t most_ = 0;    // nodes, not long before: records of what crashes go one by one
  Time had_most_;      // the last time
  Time changed_;       // the last time that more or fewer worked
  bool has_worked_ = false;  // a channel of which nothing has worked yet begins; it does not come back
  bool is_down_ = false;     // nothing worked for a call, and too little does since
  size_t needed_ = 0;
};

}  // namespace nebula
