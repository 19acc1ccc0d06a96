// service/registry/static.cc - a fixed list in the address itself: for tests, for a single server, for other people's.
//
//   static:10.0.0.1:8080,10.0.0.2:8080         these serve every name
//   static:unix:/run/a.sock,tcp://b:1          full addresses do as well, but for their own "?options"
//   static:?hello=tcp://a:1,b:2&shop.Cart=c:3  these serve these names, and nobody serves others
//
// The list names its instances itself. To announce oneself is accepted and changes nothing: a server may run under the
// same settings as its clients, and whoever wrote the list has put it there, or not. Lives on one loop.
#include <map>
#include <utility>

#include "base/log.h"
#include "loop/anchor.h"
#include "loop/loop.h"
#include "service/registry/registries.h"
#include "service/registry/watchers.h"

namespace nebula {

namespace {

struct StaticList {
  EndpointList of_all;
  std::map<std::string, EndpointList, std::less<>> of_name;
};

class StaticRegistry final : public Registry, Watchers::Source {
 public:
  StaticRegistry(StaticList list, Loop& loop, Log& log) : list_(std::move(list)), loop_(loop), log_(log) {}

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override {
    loop_.later([self = anchor_.ref()] {
      if (StaticRegistry* registry = self.get()) registry->watchers_.tell(*registry, true);
    });
    return watchers_.add(service, std::move(on_change));
  }

  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override {
    Status named = check_service_name(service);
    if (!named.ok()) return done(std::move(named));
    NEBULA_LOG(log_, debug,
               "static registry: its list is fixed, so " + self.id + " of " + std::string(service) + " is not added");
    done(std::unique_ptr<Lease>(std::make_unique<Lease>()));
  }

 private:
  Snapshot snapshot(std::string_view service) override {
    auto named = list_.of_name.find(service);
    std::vector<std::string> names;
    for (const auto& [name, endpoints] : list_.of_name) names.push_back(name);
    return make_snapshot(named == list_.of_name.end() ? list_.of_all : named->second, service, names);
  }

  const StaticList list_;
  Loop& loop_;
  Log& log_;
  Watchers watchers_;
  Anchor<StaticRegistry> anchor_{*this};
};

// "a:1" and "[::1]:1" are TCP; anything else must be a whole address.
Result<Url> parse_address(const std::string& text) {
  size_t colon = text.rfind(':');
  std::string_view port = colon == std::string::npos ? std::string_view() : std::string_view(text).substr(colon + 1);
  bool is_short = !port.empty() && port.find_first_not_of("0123456789") == std::string_view::npos && colon > 0 &&
                  text.find('/') == std::string::npos;
  TRY(Url url, Url::parse(is_short ? "tcp://" + text : text));
  if (url.scheme == "tcp" && (url.host.empty() || !url.port))
    return invalid_argument("address \"" + text + "\": a host and a port are needed, as 10.0.0.1:8080");
  return url;
}

Result<EndpointList> parse_list(std::string_view text) {
  EndpointList list;
  while (true) {
    std::string entry(text.substr(0, text.find(',')));
    TRY(Url url, parse_address(entry));
    bool is_new = true;
    for (const Endpoint& known : list) is_new = is_new && known.id != entry;
    if (is_new) list.push_back({entry, {std::move(url)}, 1});
    if (text.size() == entry.size()) return list;
    text.remove_prefix(entry.size() + 1);
  }
}

Result<StaticList> parse_static(const Url& url) {
  StaticList list;
  std::string path = url.host.empty() && !url.port ? url.path : url.text().substr(url.text().find(':') + 1);
  if (path.empty() && url.query.empty())
    return invalid_argument("it is empty; write static:host:port,host:port or static:?name=host:port");
  if (!path.empty()) {
    TRY(list.of_all, parse_list(path));
  }
  for (const auto& [name, addresses] : url.query) {
    Status named = check_service_name(name);
    if (!named.ok()) return named;
    TRY(list.of_name[name], parse_list(addresses));
  }
  return list;
}

Result<std::unique_ptr<Registry>> open_static(const Url& url, const Env& env) {
  Result<StaticList> list = parse_static(url);
  if (!list.ok()) return list.status().with_context("registry \"" + url.text() + "\"");
  return std::unique_ptr<Registry>(std::make_unique<StaticRegistry>(std::move(*list), env.loop, env.log));
}

}  // namespace

Driver<Registry> static_registry_driver() {
  return {"static", "static:host:port,host:port or static:?name=host:port,host:port", open_static};
}

}  // namespace nebula
