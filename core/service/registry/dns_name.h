// service/registry/dns_name.h - DnsName: who serves one name, as DNS says it, looked up again when that has grown old.
//
// SRV records first; where there are none and a port is given, the addresses of the name. When no server knows, what was
// known stays, and the snapshot's trouble says why it may be old. What a server says, also that there is nobody, is believed.
// Lives on one loop; owned by DnsRegistry for as long as somebody watches.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/driver.h"
#include "loop/anchor.h"
#include "loop/loop.h"
#include "service/registry/dns_resolver.h"
#include "service/registry/watchers.h"

namespace nebula {

struct DnsPlace {
  std::string text;               // the registry's address, for people
  std::string domain;
  std::optional<uint16_t> port;   // of names that have addresses alone
  std::vector<SocketAddress> servers;
  std::string scheme = "tcp";     // of the endpoints
};

class DnsName final : Watchers::Source {
 public:
  DnsName(std::string service, const DnsPlace& place, DnsResolver& resolver, const Env& env);

  std::unique_ptr<Watch> watch(Fn<void(Snapshot)> on_change);

 private:
  // What an SRV record points at, or the name itself.
  struct Host {
    std::string name;
    std::vector<std::string> addresses;
  };

  void look();
  void on_services(Result<DnsAnswer> answer);
  void look_at(std::vector<std::string> names);
  void on_addresses(size_t host, Result<DnsAnswer> answer);
  void conclude();
  EndpointList found() const;
  Url url(const std::string& address, uint16_t port) const;
  void fail(const Status& why);
  Snapshot snapshot(std::string_view service) override;

  const std::string service_;
  const DnsPlace& place_;
  DnsResolver& resolver_;
  Env env_;
  Watchers watchers_;
  std::unique_ptr<Timer> timer_;  // the next look
  Duration backoff_;

  // Of the look under way.
  std::vector<DnsRecord> services_;
  std::vector<Host> hosts_;
  size_t waiting_ = 0;  // questions
  std::optional<Duration> life_, nothing_for_;
  Status failure_;

  bool has_looked_ = false;
  EndpointList endpoints_;
  Status trouble_;
  Anchor<DnsName> anchor_{*this};
};

}  // namespace nebula
