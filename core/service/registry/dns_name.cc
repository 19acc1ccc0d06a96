// service/registry/dns_name.cc - ask, put together, wait.
#include "service/registry/dns_name.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"

namespace nebula {

namespace {

// So that many who began together do not ask together for ever.
Duration jittered(Duration pause, Random& random) { return pause + nanos(random.between(0, pause.ns / 10)); }

void shorten(std::optional<Duration>* life, Duration to) { *life = std::min(life->value_or(to), to); }

// Nodes know weights and no priorities: those of the first priority share a hundred, and any later one gets a hundredth
// of the largest's share, or all when it is alone. Where all are alike nobody has a weight.
uint32_t weight_of(const DnsRecord& record, const std::vector<DnsRecord>& all) {
  uint16_t first = UINT16_MAX;
  uint32_t most = 0;
  bool is_even = true;
  for (const DnsRecord& each : all) {
    first = std::min(first, each.priority);
    is_even = is_even && each.priority == record.priority && each.weight == record.weight;
  }
  if (is_even) return 1;
  for (const DnsRecord& each : all)
    if (each.priority == first) most = std::max<uint32_t>(most, each.weight);
  if (record.priority != first) return 1;
  return most == 0 ? 100 : std::max<uint32_t>(1, record.weight * 100u / most);
}

}  // namespace

DnsName::DnsName(std::string service, const DnsPlace& place, DnsResolver& resolver, const Env& env)
    : service_(std::move(service)), place_(place), resolver_(resolver), env_(env), backoff_(limits::dns_backoff_first) {
  look();
}

std::unique_ptr<Watch> DnsName::watch(Fn<void(Snapshot)> on_change) {
  // Who is new hears what is known already; if nothing is, the first look's outcome.
  env_.loop.later([self = anchor_.ref()] {
    DnsName* name = self.get();
    if (name != nullptr && name->has_looked_) name->watchers_.tell(*name, true);
  });
  return watchers_.add(service_, std::move(on_change));
}

void DnsName::look() {
  timer_.reset();
  services_.clear();
  hosts_.clear();
  life_ = nothing_for_ = {};
  failure_ = {};
  resolver_.ask("_" + service_ + "._tcp." + place_.domain, DnsType::srv,
                [self = anchor_.ref()](Result<DnsAnswer>&& answer) {
                  if (DnsName* name = self.get()) name->on_services(std::move(answer));
                });
}

void DnsName::on_services(Result<DnsAnswer> answer) {
  if (!answer.ok()) return fail(answer.status());
  services_ = std::move(answer->records);
  if (services_.empty()) {
    nothing_for_ = answer->life;
    return look_at(place_.port ? std::vector{service_ + "." + place_.domain} : std::vector<std::string>());
  }
  life_ = answer->life;
  // A lone dot: decidedly nobody (RFC 2782).
  std::erase_if(services_, [](const DnsRecord& record) { return record.target == "."; });
  std::vector<std::string> names;
  for (const DnsRecord& record : services_) names.push_back(record.target);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  look_at(std::move(names));
}

// Always asked, though a server may have said them beside the SRV records: that it did not say all of them there is
// allowed, and lists would come and go.
void DnsName::look_at(std::vector<std::string> names) {
  for (std::string& name : names) hosts_.push_back({std::move(name), {}});
  waiting_ = hosts_.size() * 2;
  if (waiting_ == 0) return conclude();
  for (size_t at = 0; at < hosts_.size(); at++)
    for (DnsType type : {DnsType::a, DnsType::aaaa})
      resolver_.ask(hosts_[at].name, type, [self = anchor_.ref(), at](Result<DnsAnswer>&& answer) {
        if (DnsName* name = self.get()) name->on_addresses(at, std::move(answer));
      });
}

void DnsName::on_addresses(size_t host, Result<DnsAnswer> answer) {
  waiting_--;
  if (!answer.ok()) {
    failure_ = answer.status();
  } else {
    shorten(answer->records.empty() ? &nothing_for_ : &life_, answer->life);
    for (DnsRecord& record : answer->records) hosts_[host].addresses.push_back(std::move(record.target));
  }
  if (waiting_ > 0) return;
  // One of several that nobody knows leaves all as it was: half a list would look like instances that have gone.
  if (!failure_.ok()) return fail(failure_);
  conclude();
}

void DnsName::conclude() {
  endpoints_ = found();
  Duration life = std::min(nothing_for_.value_or(life_.value_or(Duration())), limits::dns_nothing_max);
  if (!endpoints_.empty()) life = std::min(life_.value_or(Duration()), limits::dns_life_max);
  timer_ = env_.loop.after(jittered(std::max(life, limits::dns_life_min), env_.random), [this] { look(); });
  backoff_ = limits::dns_backoff_first;
  has_looked_ = true;
  if (!trouble_.ok()) NEBULA_LOG(env_.log, info, "registry " + place_.text + ": it answers again, for " + service_);
  trouble_ = {};
  watchers_.tell(*this, true);
}

// In an order of our own: servers turn theirs with every answer. A host of an SRV record is one endpoint, however many
// addresses it has; without SRV records each address is one.
EndpointList DnsName::found() const {
  EndpointList list;
  std::vector<DnsRecord> services = services_;
  std::sort(services.begin(), services.end(), [](const DnsRecord& a, const DnsRecord& b) {
    return std::tie(a.priority, a.target, a.port) < std::tie(b.priority, b.target, b.port);
  });
  std::vector<Host> hosts = hosts_;
  for (Host& host : hosts) std::sort(host.addresses.begin(), host.addresses.end());
  auto add = [&list](Endpoint endpoint) {
    for (const Endpoint& known : list)
      if (known.id == endpoint.id) return;
    list.push_back(std::move(endpoint));
  };
  for (const DnsRecord& service : services) {
    Endpoint endpoint{service.target + ":" + std::to_string(service.port), {}, weight_of(service, services)};
    for (const Host& host : hosts)
      for (const std::string& address : host.addresses)
        if (host.name == service.target) endpoint.urls.push_back(url(address, service.port));
    if (!endpoint.urls.empty()) add(std::move(endpoint));
  }
  if (!services.empty() || !place_.port) return list;
  for (const Host& host : hosts)
    for (const std::string& address : host.addresses) {
      Url at = url(address, *place_.port);
      add({at.authority(), {at}});
    }
  return list;
}

Url DnsName::url(const std::string& address, uint16_t port) const {
  Url url;
  url.scheme = place_.scheme;
  url.host = address;
  url.port = port;
  return url;
}

void DnsName::fail(const Status& why) {
  Duration half = nanos(backoff_.ns / 2);
  timer_ = env_.loop.after(half + nanos(env_.random.between(0, half.ns)), [this] { look(); });
  backoff_ = std::min(backoff_ * 2, limits::dns_backoff_max);
  bool was_well = trouble_.ok();
  has_looked_ = true;
  trouble_ = unavailable("the registry " + place_.text + " cannot be asked: " + std::string(why.message()));
  if (was_well) NEBULA_LOG(env_.log, warn, std::string(trouble_.message()) + "; what was known stays in use");
  watchers_.tell(*this, true);
}

Snapshot DnsName::snapshot(std::string_view service) {
  Snapshot snapshot = make_snapshot(endpoints_, service, {});
  snapshot.trouble = trouble_;
  return snapshot;
}

}  // namespace nebula
