// service/registry/dns_resolver.h - DnsResolver: what DNS says of a name. The real one asks servers, by UDP and TCP.
//
// On the loop itself, with a socket and a timer for each question: the C library's resolver blocks, in a pool of four
// threads that dials share, and a dead server would hold them all. Lives on one loop.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/done.h"
#include "base/driver.h"
#include "loop/anchor.h"
#include "service/registry/dns_message.h"
#include "transport/socket_address.h"

namespace nebula {

class DnsResolver {
 public:
  virtual ~DnsResolver() = default;

  // Answers in a later step. That there is no such name is an answer without records; an error is that nobody knows.
  virtual void ask(std::string_view name, DnsType type, Done<DnsAnswer> done) = 0;
};

// What a host says of its DNS (resolv.conf), as far as it matters here.
struct DnsSettings {
  std::vector<SocketAddress> servers;
  std::string domain;  // the first that names are looked for in; empty: none
};
DnsSettings parse_resolv_conf(std::string_view text);
DnsSettings host_dns_settings();

// "10.0.0.2,[::1]:5353"
Result<std::vector<SocketAddress>> parse_dns_servers(std::string_view text);

class DnsExchange;

class DnsServers final : public DnsResolver {
 public:
  DnsServers(std::vector<SocketAddress> servers, const Env& env);  // none: the host's, whichever they are at the time
  ~DnsServers() override;

  void ask(std::string_view name, DnsType type, Done<DnsAnswer> done) override;

 private:
  struct Question {
    std::string name;
    DnsType type;
    Done<DnsAnswer> done;
  };

  void begin();
  void on_over(uint64_t id);

  const std::vector<SocketAddress> servers_;
  Env env_;
  std::deque<Question> waiting_;
  std::map<uint64_t, std::unique_ptr<DnsExchange>> running_;
  uint64_t begun_ = 0;
  Anchor<DnsServers> anchor_{*this};
};

}  // namespace nebula
