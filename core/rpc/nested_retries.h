// rpc/nested_retries.h - what calls that are made for one and the same call share of its retries.
//
// With three tries on each of d levels of services the lowest one would get 3^d. So a try says how many may follow it at
// most (nebula-retries-left); all calls that its handler makes have so many retries together, and say less themselves. A
// handler that fails after them tells its caller not to try again (grpc-retry-pushback-ms: -1, gRFC A6): others have.
//
// Made for the first of those calls. They may live on other loops than the one that they are made for, and than each other.
#pragma once

#include <atomic>

#include "rpc/call.h"

namespace nebula {

class NestedRetries {
 public:
  static NestedShare make(RetriesLeft left) { return NestedShare(new NestedRetries(left)); }
  NestedShare share();

  RetriesLeft left() const { return left_.load(std::memory_order_relaxed); }

  // For another try of one of them. False: there is none left, so it fails.
  bool take();

  // One of them has failed, with those trailers.
  void on_failure(const Context& call, const Metadata& trailers);

  // The call that they were made for ends like that. What its handler says itself of another try counts.
  void advise(Ending* ending) const;

 private:
  friend NestedDrop;
  explicit NestedRetries(RetriesLeft left) : left_(left) {}

  std::atomic<uint32_t> holders_{1};
  std::atomic<RetriesLeft> left_;
  std::atomic<bool> were_in_vain_{false};
};

}  // namespace nebula
