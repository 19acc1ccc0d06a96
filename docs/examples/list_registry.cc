// docs/examples/list_registry.cc - list:/path, a registry that is a file which somebody else writes.
//
//   hello tcp://10.0.0.1:8080      a service's name and an address, as many lines as there are instances
//   hello tcp://10.0.0.2:8080
//
// From the first watch on it reads the file again every second. Lives on one loop.
#include <fstream>
#include <sstream>

#include "examples.h"
#include "loop/anchor.h"
#include "loop/loop.h"
#include "service/registry/watchers.h"

namespace nebula {

namespace {

constexpr Duration look_interval = sec(1);

class ListRegistry final : public Registry, Watchers::Source {
 public:
  ListRegistry(std::string path, Loop& loop) : path_(std::move(path)), loop_(loop) {}

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override {
    // The first snapshot comes in a later step; by then this registry may have gone.
    loop_.later([self = anchor_.ref()] {
      if (ListRegistry* registry = self.get()) registry->look();
    });
    return watchers_.add(service, std::move(on_change));
  }

  // Accepted, and nothing changes: whoever writes the file has put this instance there, or not.
  void announce(std::string_view service, Endpoint, Done<std::unique_ptr<Lease>> done) override {
    Status named = check_service_name(service);
    if (!named.ok()) return done(std::move(named));
    done(std::unique_ptr<Lease>(std::make_unique<Lease>()));
  }

 private:
  void look() {
    read();
    timer_ = loop_.after(look_interval, [this] { look(); });
    // Tells those whose snapshot has changed. One of them may destroy this registry, so it is the last thing here.
    watchers_.tell(*this, true);
  }

  // A file that cannot be read is trouble and no reason to forget what it said before.
  void read() {
    std::ifstream file(path_);
    trouble_ = file ? Status() : unavailable("registry list:" + path_ + ": the file cannot be read");
    if (!file) return;
    list_.clear();
    for (std::string line; std::getline(file, line);) {
      std::string service, address;
      std::istringstream(line) >> service >> address;
      Result<Url> url = Url::parse(address);
      if (check_service_name(service).ok() && url.ok()) list_.emplace_back(service, Endpoint{address, {*url}});
    }
  }

  Snapshot snapshot(std::string_view service) override {
    EndpointList endpoints;
    std::vector<std::string> names;
    for (const auto& [name, endpoint] : list_) {
      names.push_back(name);
      if (name == service) endpoints.push_back(endpoint);
    }
    Snapshot snapshot = make_snapshot(std::move(endpoints), service, names);  // with names that look alike
    snapshot.trouble = trouble_;
    return snapshot;
  }

  const std::string path_;
  Loop& loop_;
  Status trouble_;
  std::vector<std::pair<std::string, Endpoint>> list_;
  std::unique_ptr<Timer> timer_;
  Watchers watchers_;
  Anchor<ListRegistry> anchor_{*this};
};

}  // namespace

Driver<Registry> list_registry_driver() {
  return {"list", "list:/path", [](const Url& url, const Env& env) -> Result<std::unique_ptr<Registry>> {
            if (url.path.empty()) return invalid_argument("registry \"" + url.text() + "\": no path; write list:/path");
            return std::unique_ptr<Registry>(std::make_unique<ListRegistry>(url.path, env.loop));
          }};
}

}  // namespace nebula
