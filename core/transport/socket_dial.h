// transport/socket_dial.h - connecting: to the first of several addresses that answers; what tcp and unix share.
//
// Every answer comes in a later step. A dial that is still open when its SocketDials goes is answered then.
#pragma once

#include <vector>

#include "loop/uv_loop.h"
#include "transport/answers.h"
#include "transport/socket_address.h"
#include "transport/transport.h"

namespace nebula {

// The order in which addresses of several families are tried.
std::vector<SocketAddress> interleaved(std::vector<SocketAddress> addresses);

class SocketDials {
 public:
  using DialDone = Done<std::unique_ptr<Conn>>;

  explicit SocketDials(UvLoop& loop);
  ~SocketDials();

  void dial(const Url& to, std::vector<SocketAddress> addresses, DialDone done);
  void dial_name(const Url& to, uint16_t port, DialDone done);  // to.host is looked up first
  void fail(Status why, DialDone done) { answers_.later(std::move(why), std::move(done)); }

 private:
  class Dial;
  Dial& add(const Url& to, DialDone done);
  void finish(Dial& dial, Result<std::unique_ptr<Conn>> result);

  UvLoop& loop_;
  Answers answers_;
  std::vector<std::unique_ptr<Dial>> open_;
};

}  // namespace nebula
