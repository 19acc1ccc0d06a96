// service/registry/dns_resolver.cc - which servers, and how many questions at a time.
#include "service/registry/dns_resolver.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/limits.h"
#include "loop/fork.h"
#include "loop/loop.h"
#include "service/registry/dns_exchange.h"

namespace nebula {

namespace {

constexpr uint16_t dns_port = 53;
constexpr size_t servers_max = 3;  // as the C library has it

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    size_t start = line.find_first_not_of(" \t\r");
    if (start == std::string_view::npos || line[start] == '#' || line[start] == ';') return words;
    line.remove_prefix(start);
    words.push_back(line.substr(0, line.find_first_of(" \t\r")));
    line.remove_prefix(words.back().size());
  }
}

}  // namespace

DnsSettings parse_resolv_conf(std::string_view text) {
  DnsSettings settings;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    std::vector<std::string_view> words = words_of(line);
    if (words.size() < 2) continue;
    if (words[0] == "search" || words[0] == "domain") settings.domain = words[1];
    if (words[0] != "nameserver" || settings.servers.size() == servers_max) continue;
    std::optional<SocketAddress> server = SocketAddress::numeric(std::string(words[1]), dns_port);
    if (server) settings.servers.push_back(*server);
  }
  if (settings.servers.empty()) settings.servers.push_back(*SocketAddress::numeric("127.0.0.1", dns_port));
  return settings;
}

DnsSettings host_dns_settings() {
  Fd file(::open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC));
  char text[4096];
  ssize_t size = file ? ::read(file.get(), text, sizeof text) : 0;
  return parse_resolv_conf({text, static_cast<size_t>(std::max<ssize_t>(size, 0))});
}

Result<std::vector<SocketAddress>> parse_dns_servers(std::string_view text) {
  std::vector<SocketAddress> servers;
  while (true) {
    std::string_view one = text.substr(0, text.find(','));
    std::string host(one);
    uint16_t port = dns_port;
    // A lone IPv6 address has colons as well, and more of them.
    size_t colon = one.rfind(':');
    if (colon != std::string_view::npos && (one.starts_with('[') ? one[colon - 1] == ']' : one.find(':') == colon)) {
      std::string_view digits = one.substr(colon + 1);
      auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
      if (error != std::errc() || end != digits.data() + digits.size()) port = 0;
      host = one.substr(0, colon);
    }
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    std::optional<SocketAddress> server = SocketAddress::numeric(host, port);
    if (!server || port == 0)
      return invalid_argument("server \"" + std::string(one) + "\" is no address; write 10.0.0.2, 10.0.0.2:5353 or [::1]:5353");
    if (servers.size() == servers_max)
      return invalid_argument("there are more than " + std::to_string(servers_max) + " servers");
    servers.push_back(*server);
    if (one.size() == text.size()) return servers;
    text.remove_prefix(one.size() + 1);
  }
}

DnsServers::DnsServers(std::vector<SocketAddress> servers, const Env& env) : servers_(std::move(servers)), env_(env) {}

DnsServers::~DnsServers() = default;

void DnsServers::ask(std::string_view name, DnsType type, Done<DnsAnswer> done) {
  waiting_.push_back({std::string(name), type, std::move(done)});
  begin();
}

void DnsServers::begin() {
  while (!waiting_.empty() && running_.size() < limits::dns_questions_max) {
    Question next = std::move(waiting_.front());
    waiting_.pop_front();
    uint64_t id = ++begun_;
    auto answer = [self = anchor_.ref(), id, done = std::move(next.done)](Result<DnsAnswer>&& answer) mutable {
      if (DnsServers* servers = self.get()) servers->on_over(id);
      done(std::move(answer));
    };
    // Asked anew each time: the host may have moved to another network.
    running_[id] = std::make_unique<DnsExchange>(env_, servers_.empty() ? host_dns_settings().servers : servers_,
                                                 std::move(next.name), next.type, std::move(answer));
  }
}

// In a later step: this is the exchange's own answer.
void DnsServers::on_over(uint64_t id) {
  env_.loop.later([self = anchor_.ref(), id] {
    DnsServers* servers = self.get();
    if (servers == nullptr) return;
    servers->running_.erase(id);
    servers->begin();
  });
}

}  // namespace nebula
