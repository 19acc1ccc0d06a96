// service/registry/dns.h - DnsRegistry: names that stand in DNS, for services that something else has put there.
//
//   dns:example.org                     hello is at the SRV records of _hello._tcp.example.org
//   dns:example.org?port=7000           or, where it has none, at the addresses of hello.example.org, port 7000
//   dns:?port=7000                      in the domain of this host (the first "search" of /etc/resolv.conf)
//   dns:example.org?server=127.0.0.1:5353,[::1]:53   asking these, not those of /etc/resolv.conf
//   dns:example.org?tls                 the instances speak TLS
//
// DNS is read, never written: to announce oneself is accepted and changes nothing, as with static:. Lives on one loop.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "service/registry/dns_name.h"

namespace nebula {

class DnsRegistry final : public Registry {
 public:
  DnsRegistry(DnsPlace place, std::unique_ptr<DnsResolver> resolver, const Env& env);
  ~DnsRegistry() override;

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override;
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override;

 private:
  class Watching;
  struct Watched {
    std::unique_ptr<DnsName> name;
    size_t watches = 0;
  };

  const DnsPlace place_;
  std::unique_ptr<DnsResolver> resolver_;
  Env env_;
  std::map<std::string, Watched, std::less<>> names_;
  Anchor<DnsRegistry> anchor_{*this};
};

// The address, read. `domain` is what an address without one means.
Result<DnsPlace> parse_dns_place(const Url& url, const std::string& domain);

}  // namespace nebula
