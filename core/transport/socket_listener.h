// transport/socket_listener.h - accepts on a listening socket; what tcp and unix share.
#pragma once

#include <sys/stat.h>

#include "base/log.h"
#include "loop/anchor.h"
#include "loop/uv_loop.h"
#include "transport/transport.h"

namespace nebula {

class SocketListener final : public Listener {
 public:
  using OnConn = Fn<void(std::unique_ptr<Conn>)>;

  // The socket listens already. A Unix socket's path is taken away in the end, if it is still the same file.
  static Result<std::unique_ptr<Listener>> make(UvLoop& loop, Log& log, Fd socket, Url url, OnConn on_conn);
  ~SocketListener() override;

  Url url() const override { return url_; }
  Url share() override;

 private:
  SocketListener(UvLoop& loop, Log& log, Fd socket, Url url, OnConn on_conn);
  void accept_some();
  void rest(int error);

  UvLoop& loop_;
  Log& log_;
  Fd socket_;
  Url url_;
  OnConn on_conn_;
  struct stat file_{};  // of a Unix socket
  bool is_shared_ = false;  // the socket itself, with other loops
  std::unique_ptr<UvPoll> poll_;
  std::unique_ptr<Timer> rest_timer_;
  Anchor<SocketListener> anchor_{*this};
};

}  // namespace nebula
