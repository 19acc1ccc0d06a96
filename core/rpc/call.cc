// rpc/call.cc - Context: cancelled once, heard once.
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

}  // namespace nebula
