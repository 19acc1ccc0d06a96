// rpc/service.h - the words everything is composed of.
#pragma once

#include "rpc/call.h"

namespace nebula {

// Client and server alike: a channel is one, a handler is one.
class Service {
 public:
  virtual ~Service() = default;

  // Answers `reply` once, now or later, on the same loop. An error Result means a Response with that status
  // and, at a client, that nothing was sent.
  virtual void call(Request request, Reply reply) = 0;
};

}  // namespace nebula
