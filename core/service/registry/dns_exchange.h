// service/registry/dns_exchange.h - DnsExchange: one question, put to one server after the other until one answers.
//
// Each try has a socket and an id of its own, both drawn by the kernel, so that nobody who does not see the question can
// answer it. Lives on one loop; owned by DnsServers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/driver.h"
#include "loop/anchor.h"
#include "loop/fork.h"
#include "loop/loop.h"
#include "service/registry/dns_resolver.h"
#include "transport/transport.h"

namespace nebula {

class DnsExchange final : ConnEvents {
 public:
  // Begins in a later step.
  DnsExchange(const Env& env, std::vector<SocketAddress> servers, std::string name, DnsType type, Done<DnsAnswer> done);

 private:
  const SocketAddress& server() const { return servers_[(tries_ - 1) % servers_.size()]; }
  void try_next();
  void send();
  void on_readable();
  void ask_by_tcp();
  void on_message(std::string_view message, bool by_tcp);
  void fail_try(std::string_view why);
  void leave();

  void on_bytes(Bytes data) override;
  void on_drained() override {}
  void on_closed(Status why) override;

  Env env_;
  const std::vector<SocketAddress> servers_;
  const std::string name_;
  const DnsType type_;
  Done<DnsAnswer> done_;
  size_t tries_ = 0;
  std::string query_;
  std::string failure_;  // of the last try, with its server
  Fd socket_;
  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<Timer> timer_;
  std::unique_ptr<Conn> conn_;  // the answer was truncated
  std::string received_;        // by it
  Anchor<DnsExchange> anchor_{*this};
};

}  // namespace nebula
