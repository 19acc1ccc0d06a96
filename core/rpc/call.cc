// rpc/call.cc - Context: cancelled once, heard once; and who is to blame.
#include "rpc/call.h"

#include "base/assert.h"

namespace nebula {

void Context::cancel(Status why) {
  NEBULA_ASSERT(!why.ok());
  if (is_cancelled()) return;
  why_ = std::move(why);
  Fn<void(const Status&)> then = std::move(then_);
  Status reason = why_;  // `then` may end the call, and this with it
  if (then) then(reason);
}

void Context::keep_deadline(Clock& clock) {
  if (deadline_.is_never()) return;
  timer_ = clock.after(deadline_ - clock.now(), [this] { cancel(deadline_exceeded("the deadline passed")); });
}

void Context::on_cancel(Fn<void(const Status& why)> then) {
  if (!is_cancelled()) {
    then_ = std::move(then);
    return;
  }
  Status reason = why_;
  if (then) then(reason);
}

void Context::count_end(Code code, Time now) {
  ClientMetrics* counts = std::exchange(counts_, nullptr);
  if (counts == nullptr) return;
  Duration took = now - began_;
  counts->call_duration.add(code, Histogram::bucket_of(took), took);
}

void Context::count_attempt(Code code, size_t bucket, Duration took, Time began, bool is_last) {
  if (counts_ == nullptr) return;
  if (is_last && began == began_) return std::exchange(counts_, nullptr)->shared.add(code, bucket, took);
  counts_->attempt_duration.add(code, bucket, took);
  if (is_last) count_end(code, began + took);
}

Fault fault_of(Code code, Fate fate) {
  bool is_answered = fate == Fate::processed;
  switch (code) {
    case Code::ok: return Fault::none;
    case Code::cancelled:
    case Code::invalid_argument: return Fault::caller;
    case Code::resource_exhausted: return fate == Fate::unsent ? Fault::caller : Fault::overload;  // a limit on our side
    case Code::deadline_exceeded: return fate == Fate::unsent ? Fault::network : Fault::callee;
    case Code::not_found:
    case Code::already_exists:
    case Code::permission_denied:
    case Code::failed_precondition:
    case Code::out_of_range:
    case Code::unauthenticated: return is_answered ? Fault::caller : Fault::callee;
    // Unsent: what a service described by itself has not (service/checks.h).
    case Code::unimplemented: return is_answered || fate == Fate::unsent ? Fault::caller : Fault::callee;
    case Code::unavailable:
      return is_answered ? Fault::callee : fate == Fate::unprocessed ? Fault::overload : Fault::network;
    default: return Fault::callee;
  }
}

}  // namespace nebula
