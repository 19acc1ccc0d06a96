// kit/dns.h - DNS for tests: a real dnsmasq of this test alone, and a server on the test's own loop that says what it is told.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kit/registry_world.h"
#include "kit/world.h"
#include "service/registry/dns_message.h"

namespace nebula::kit {

class DnsmasqProcess {
 public:
  static bool is_installed();

  // Lines of its configuration: "srv-host=_hello._tcp.test,a.test,7000,0,10", "host-record=a.test,10.0.0.1".
  explicit DnsmasqProcess(std::vector<std::string> lines);  // started, and it answers
  ~DnsmasqProcess();

  void kill();
  void start(std::vector<std::string> lines);  // again, at the same address

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  TempDirectory directory_;
  int port_;
  pid_t pid_ = -1;
};

// Parts of a message, from which tests make answers and what is none.
struct DnsRow {
  std::string name;
  uint16_t type;
  uint32_t ttl;
  std::string data;
};
std::string dns_name(const std::string& text);  // on the wire
DnsRow a_row(const std::string& name, uint32_t ttl, const std::string& address);
DnsRow srv_row(const std::string& name, uint32_t ttl, uint16_t priority, uint16_t weight, uint16_t port, const std::string& target);
DnsRow soa_row(const std::string& zone, uint32_t ttl, uint32_t minimum);
constexpr uint16_t servfail = 2, nxdomain = 3, truncated = 0x0200;
// The answer to that query, with these bits of the header.
std::string dns_reply(const std::string& query, uint16_t bits, const std::vector<DnsRow>& answers,
                      const std::vector<DnsRow>& authorities = {});

// Answers by UDP and by TCP at one port of 127.0.0.1; an empty answer is silence.
class ScriptedDns {
 public:
  using Script = std::function<std::string(const std::string& query, bool by_tcp)>;
  ScriptedDns(RealWorld& world, Script script);

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int asked_by_udp = 0, asked_by_tcp = 0;

 private:
  struct Session;
  void on_datagram();

  Script script_;
  int port_ = 0;
  std::unique_ptr<Listener> listener_;
  std::vector<std::unique_ptr<Session>> sessions_;
  Fd socket_;
  std::unique_ptr<FdWatch> watch_;

 public:
  ~ScriptedDns();
};

}  // namespace nebula::kit
