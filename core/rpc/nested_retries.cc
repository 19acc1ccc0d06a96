// rpc/nested_retries.cc - taken one by one; and when another try would be in vain.
#include "rpc/nested_retries.h"

#include "rpc/grpc.h"

namespace nebula {

void NestedDrop::operator()(NestedRetries* held) const {
  if (held->holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete held;
}

NestedShare NestedRetries::share() {
  holders_.fetch_add(1, std::memory_order_relaxed);
  return NestedShare(this);
}

bool NestedRetries::take() {
  RetriesLeft left = this->left();
  do {
    if (left == any_retries) return true;
    if (left == 0) {
      were_in_vain_.store(true, std::memory_order_relaxed);
      return false;
    }
  } while (!left_.compare_exchange_weak(left, static_cast<RetriesLeft>(left - 1), std::memory_order_relaxed));
  return true;
}

// One that was told not to try again hands that on: the retries were made further below.
void NestedRetries::on_failure(const Context& call, const Metadata& trailers) {
  if (call.was_retried() || grpc::pushback_ms(trailers).value_or(0) < 0)
    were_in_vain_.store(true, std::memory_order_relaxed);
}

void NestedRetries::advise(Ending* ending) const {
  if (ending->status.ok() || !were_in_vain_.load(std::memory_order_relaxed)) return;
  if (!ending->trailers.find(grpc::pushback_name)) ending->trailers.add(grpc::pushback_name, "-1");
}

}  // namespace nebula
