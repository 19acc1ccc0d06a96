// service/breaker/breaker.cc - which failures are the node's.
#include "service/breaker/breaker.h"

namespace nebula {

Verdict verdict_of(Code code, Fate fate) {
  if (code == Code::ok) return Verdict::good;
  // What was not looked at says nothing: the connection was full, or ended in order.
  if (fate == Fate::unsent || fate == Fate::unprocessed || fate == Fate::refused) return Verdict::none;
  switch (code) {
    case Code::cancelled: return Verdict::none;  // the caller's wish
    case Code::unknown:
    case Code::deadline_exceeded:
    case Code::resource_exhausted:
    case Code::internal:
    case Code::unavailable:
    case Code::data_loss: return Verdict::bad;
    default: return Verdict::good;  // it has understood the call and refused it
  }
}

}  // namespace nebula
