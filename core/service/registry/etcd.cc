// service/registry/etcd.cc - the address, and who asks the view and the announcer.
#include "service/registry/etcd.h"

#include <charconv>
#include <utility>

#include "service/registry/record.h"
#include "service/registry/registries.h"

namespace nebula {

class EtcdRegistry::EtcdLease final : public Lease {
 public:
  EtcdLease(Anchor<EtcdRegistry>::Ref registry, std::string key, Record record)
      : registry_(std::move(registry)), key_(std::move(key)), record_(std::move(record)) {}
  ~EtcdLease() override {
    if (EtcdRegistry* registry = registry_.get()) registry->announcer_.remove(key_);
  }
  void mark(Mark mark, Done<bool> done) override {
    EtcdRegistry* registry = registry_.get();
    if (registry == nullptr) return done(unavailable("the registry was closed"));
    apply(mark, &record_.endpoint);
    registry->announcer_.change(key_, record_.text(), std::move(done));
  }

 private:
  Anchor<EtcdRegistry>::Ref registry_;
  const std::string key_;
  Record record_;
};

namespace {

bool is_loopback(std::string_view host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

// The addresses that mean something to other hosts; all of them where etcd itself is at a loopback address, as for a test.
Result<std::vector<Url>> far_urls(const std::vector<Url>& urls, const EtcdPlace& place) {
  Result<Url> etcd = Url::parse(place.addresses.front());
  bool is_near = etcd.ok() && is_loopback(etcd->host);
  std::vector<Url> far;
  auto refused = [](const Url& url) {
    return invalid_argument("\"" + url.text() + "\" means nothing to other hosts; listen at an address of this one, as " +
                            (url.host.empty() ? "tcp" : url.scheme) + "://10.0.0.5:" +
                            std::to_string(url.port.value_or(7000)));
  };
  for (const Url& url : urls) {
    if (url.host == "0.0.0.0" || url.host == "::") return refused(url);
    if (is_near || (url.scheme != "unix" && !is_loopback(url.host))) far.push_back(url);
  }
  if (far.empty() && !urls.empty()) return refused(urls.back());
  return far;
}

}  // namespace

EtcdRegistry::EtcdRegistry(EtcdPlace place, const Env& env)
    : place_(std::move(place)),
      loop_(env.loop),
      view_(place_, env, policies_, [this] { tell(view_.take_changes()); }),
      announcer_(place_, env) {}

std::unique_ptr<Watch> EtcdRegistry::watch(std::string_view service, Fn<void(Snapshot)> on_change) {
  start();
  return watchers_.add(service, std::move(on_change));
}

std::unique_ptr<Watch> EtcdRegistry::watch_kept_policy(std::string_view name, OnPolicy on_policy) {
  start();
  return policies_.watch(name, std::move(on_policy));
}

void EtcdRegistry::start() {
  view_.start();
  // Who is new hears what is known already; if nothing is, the view's first word.
  loop_.later([self = anchor_.ref()] {
    EtcdRegistry* registry = self.get();
    if (registry != nullptr && registry->view_.has_looked()) registry->tell({});
  });
}

// Policies first, so that a channel has its own when it hears of instances.
void EtcdRegistry::tell(const Changes& changes) {
  Anchor<EtcdRegistry>::Ref self = anchor_.ref();
  policies_.tell(true);
  if (self.get() != nullptr) watchers_.tell(*this, true, changes);
}

void EtcdRegistry::announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) {
  Record record{std::string(service), std::move(self), {}};
  Status status = check_service_name(service);
  if (status.ok()) status = check_instance_id(record.endpoint.id);
  if (!status.ok()) return done(std::move(status));
  Result<std::vector<Url>> urls = far_urls(record.endpoint.urls, place_);
  if (!urls.ok()) return done(urls.status());
  record.endpoint.urls = std::move(*urls);
  std::string key = place_.directory + record.service + "/" + record.endpoint.id;
  Result<std::string> text = record.checked_text();
  if (!text.ok()) return done(text.status());
  announcer_.add(key, std::move(*text),
                 [self = anchor_.ref(), key, record = std::move(record), done = std::move(done)](Result<bool>&& added) mutable {
                   if (!added.ok()) return done(added.status());
                   done(std::unique_ptr<Lease>(
                       std::make_unique<EtcdLease>(std::move(self), std::move(key), std::move(record))));
                 });
}

Snapshot EtcdRegistry::snapshot(std::string_view service) {
  EndpointList endpoints = view_.endpoints(service);
  std::vector<std::string> names = endpoints.empty() ? view_.services() : std::vector<std::string>();
  Snapshot snapshot = make_snapshot(std::move(endpoints), service, names);
  snapshot.trouble = check_service_name(service);
  if (snapshot.trouble.ok()) snapshot.trouble = view_.trouble();
  return snapshot;
}

namespace {

Result<EtcdPlace> parse_place(const Url& url) {
  constexpr std::string_view usage = "; write etcd://host:port/directory?more=host:port,host:port";
  EtcdPlace place;
  Url rest = url;
  place.tls = take_tls_options(rest);
  if (rest.host.empty() || !rest.port)
    return invalid_argument("registry \"" + url.text() + "\": a host and a port are needed" + std::string(usage));
  std::string scheme = place.tls ? "tls://" : "tcp://";
  place.addresses.push_back(scheme + rest.authority());
  for (const auto& [name, value] : rest.query) {
    if (name == "lease") {
      int64_t seconds = 0;
      std::from_chars(value.data(), value.data() + value.size(), seconds);
      if (seconds < 2 || seconds > 3600)
        return invalid_argument("registry \"" + url.text() + "\": lease is 2 to 3600 seconds");
      place.lease = sec(seconds);
      continue;
    }
    if (name != "more")
      return invalid_argument("registry \"" + url.text() + "\": unknown option \"" + name +
                              "\"; there are more, lease, ca, cert, key and name" + std::string(usage));
    for (std::string_view left = value; !left.empty();) {
      std::string_view one = left.substr(0, left.find(','));
      place.addresses.push_back(scheme + std::string(one));
      left.remove_prefix(std::min(one.size() + 1, left.size()));
    }
  }
  std::string_view directory = rest.path;
  while (directory.ends_with('/')) directory.remove_suffix(1);
  place.directory = directory.empty() ? "/nebula/" : std::string(directory) + "/";
  return place;
}

}  // namespace

Driver<Registry> etcd_registry_driver() {
  auto open = [](const Url& url, const Env& env) -> Result<std::unique_ptr<Registry>> {
    TRY(EtcdPlace place, parse_place(url));
    if (Result<std::unique_ptr<EtcdApi>> api = EtcdApi::open(env, place); !api.ok())
      return api.status().with_context("registry \"" + url.text() + "\"");
    return std::unique_ptr<Registry>(std::make_unique<EtcdRegistry>(std::move(place), env));
  };
  return {"etcd", "etcd://host:port/directory", open};
}

}  // namespace nebula
