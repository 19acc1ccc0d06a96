// rpc/server.h - listeners and a router on one loop.
//
// accept -> session -> call. Lives on one loop.
#pragma once

#include <memory>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "loop/anchor.h"
#include "loop/loop.h"
#include "rpc/router.h"
#include "rpc/server_call.h"
#include "transport/network.h"

namespace nebula {

struct ServerLimits {
  size_t message_bytes_max = limits::message_bytes_max;
  SessionOptions session = {.keepalive = {limits::keepalive_interval_server, limits::keepalive_timeout, true}};
  size_t connections_max = limits::connections_max;
  // Ages of a connection (gRFC A9); 0: for ever. Then it drains: clients move on, and what runs may end.
  Duration idle_max = {};   // without a call
  Duration age_max = {};    // in all; a tenth more or less by chance, so that clients do not come back together
  Duration age_grace = {};  // after age_max, then what still runs is cut off; 0: it may take its time
};

class Server {
 public:
  // References outlive the server. Every method of the router must stay until the server is destroyed.
  Server(Loop& loop, Network& network, Log& log, const Router& router, ServerLimits limits = {});
  ~Server();  // closes all; calls that run are cancelled

  Status listen(const Url& at);
  std::vector<Url> urls() const;  // with real ports
  std::vector<Url> share();       // where servers on further loops of this process listen (Listener::share)

  // Stops accepting, lets running calls end within `wait`, then cancels the rest. Answers when the last session has
  // gone.
  void drain(Duration wait, Fn<void()> then);

  size_t session_count() const;

 private:
  class Connection;
  void accept(std::unique_ptr<Conn> conn);
  bool make_room();  // for one more connection
  void remove(Connection* connection);
  void give_memory_back();  // to the system, after a while
  void finish_drain_later();

  Loop& loop_;
  Network& network_;
  Log& log_;
  ServerLimits limits_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  ServerShare share_;
  std::vector<std::unique_ptr<Connection>> connections_;
  uint64_t connections_seen_ = 0;
  size_t crowd_gone_ = 0;  // connections, and the most calls that each had at once, since memory was given back
  std::unique_ptr<Timer> memory_timer_;
  std::unique_ptr<Timer> drain_timer_;
  Fn<void()> drained_;
  bool draining_ = false;
  Anchor<Server> anchor_{*this};
};

}  // namespace nebula
