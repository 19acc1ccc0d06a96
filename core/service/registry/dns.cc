// service/registry/dns.cc - the address, and the names that somebody watches.
#include "service/registry/dns.h"

#include <utility>

#include "base/log.h"
#include "base/options.h"
#include "service/registry/registries.h"

namespace nebula {

// A name that nobody watches any more is not looked up either.
class DnsRegistry::Watching final : public Watch {
 public:
  Watching(Anchor<DnsRegistry>::Ref registry, std::string service, std::unique_ptr<Watch> watch)
      : registry_(std::move(registry)), service_(std::move(service)), watch_(std::move(watch)) {}
  ~Watching() override {
    watch_.reset();
    DnsRegistry* registry = registry_.get();
    if (registry == nullptr) return;
    auto watched = registry->names_.find(service_);
    if (--watched->second.watches == 0) registry->names_.erase(watched);
  }

 private:
  Anchor<DnsRegistry>::Ref registry_;
  const std::string service_;
  std::unique_ptr<Watch> watch_;
};

DnsRegistry::DnsRegistry(DnsPlace place, std::unique_ptr<DnsResolver> resolver, const Env& env)
    : place_(std::move(place)), resolver_(std::move(resolver)), env_(env) {}

DnsRegistry::~DnsRegistry() = default;

std::unique_ptr<Watch> DnsRegistry::watch(std::string_view service, Fn<void(Snapshot)> on_change) {
  Watched& watched = names_[std::string(service)];
  if (watched.name == nullptr) watched.name = std::make_unique<DnsName>(std::string(service), place_, *resolver_, env_);
  watched.watches++;
  return std::make_unique<Watching>(anchor_.ref(), std::string(service), watched.name->watch(std::move(on_change)));
}

void DnsRegistry::announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) {
  Status named = check_service_name(service);
  if (!named.ok()) return done(std::move(named));
  NEBULA_LOG(env_.log, debug,
             "registry " + place_.text + ": it is read only, so " + self.id + " of " + std::string(service) + " is not added");
  done(std::unique_ptr<Lease>(std::make_unique<Lease>()));
}

Result<DnsPlace> parse_dns_place(const Url& url, const std::string& domain) {
  auto refused = [&url](const Status& why) { return why.with_context("registry \"" + url.text() + "\""); };
  if (!url.host.empty() || url.path.find('/') != std::string::npos)
    return refused(invalid_argument("it has no slashes; write dns:example.org?server=10.0.0.2:53"));
  DnsPlace place;
  place.text = url.text();
  place.domain = url.path.empty() ? domain : url.path;
  if (place.domain.ends_with('.')) place.domain.pop_back();
  if (place.domain.empty())
    return refused(invalid_argument("this host has no domain (no \"search\" in /etc/resolv.conf); write dns:example.org"));
  uint32_t port = 0;
  std::string servers, tls;
  Url rest = url;
  rest.path.clear();
  Options options(rest);
  options.count("port", &port, 1, 65535).text("server", &servers).text("tls", &tls);
  if (!options.status().ok()) return refused(options.status());
  if (port != 0) place.port = static_cast<uint16_t>(port);
  if (url.option("tls")) place.scheme = "tls";
  if (url.option("server")) {
    Result<std::vector<SocketAddress>> parsed = parse_dns_servers(servers);
    if (!parsed.ok()) return refused(parsed.status());
    place.servers = std::move(*parsed);
  }
  if (!make_dns_query(0, "_a._tcp." + place.domain, DnsType::srv))
    return refused(invalid_argument("\"" + place.domain + "\" is no domain"));
  return place;
}

Driver<Registry> dns_registry_driver() {
  auto open = [](const Url& url, const Env& env) -> Result<std::unique_ptr<Registry>> {
    TRY(DnsPlace place, parse_dns_place(url, url.path.empty() ? host_dns_settings().domain : std::string()));
    if (env.loop.uv() == nullptr) return failed_precondition("dns: there are no sockets in a simulation; use mem:");
    auto resolver = std::make_unique<DnsServers>(place.servers, env);
    return std::unique_ptr<Registry>(std::make_unique<DnsRegistry>(std::move(place), std::move(resolver), env));
  };
  return {"dns", "dns:domain?port=7000&server=host:port", open};
}

}  // namespace nebula
