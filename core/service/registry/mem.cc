// service/registry/mem.cc - a map, told to its watchers one step later.
#include "service/registry/mem.h"

#include <utility>

#include "service/registry/registries.h"

namespace nebula {

class MemRegistry::MemLease final : public Lease {
 public:
  MemLease(Anchor<MemRegistry>::Ref registry, Key key, uint64_t number)
      : registry_(std::move(registry)), key_(std::move(key)), number_(number) {}
  ~MemLease() override {
    if (MemRegistry* registry = registry_.get()) registry->withdraw(key_, number_);
  }
  void mark(Mark mark, Done<bool> done) override {
    if (MemRegistry* registry = registry_.get()) return registry->mark(key_, number_, mark, std::move(done));
    done(unavailable("the registry was closed"));
  }

 private:
  Anchor<MemRegistry>::Ref registry_;
  Key key_;
  uint64_t number_;
};

std::unique_ptr<Watch> MemRegistry::watch(std::string_view service, Fn<void(Snapshot)> on_change) {
  tell_soon();
  return watchers_.add(service, std::move(on_change));
}

void MemRegistry::announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) {
  Status named = check_service_name(service);
  if (!named.ok()) return done(std::move(named));
  Key key(service, self.id);
  if (instances_.contains(key))
    return done(already_exists("instance " + key.second + " of " + key.first + " is announced already"));
  uint64_t number = ++announcements_;
  instances_.emplace(key, Instance{std::move(self), number});
  waiting_.push_back({std::move(key), number, std::move(done)});
  tell_soon();
}

bool MemRegistry::kill(std::string_view service, std::string_view id) {
  if (instances_.erase(Key(service, id)) == 0) return false;
  died_.add(std::string(id));
  tell_soon();
  return true;
}

std::unique_ptr<Watch> MemRegistry::watch_kept_policy(std::string_view name, OnPolicy on_policy) {
  tell_soon();
  return policies_.watch(name, std::move(on_policy));
}

void MemRegistry::set_policy(std::string_view name, std::optional<std::string> text) {
  if (text)
    policies_.put(name, std::move(*text));
  else
    policies_.remove(name);
  tell_soon();
}

void MemRegistry::mark(const Key& key, uint64_t number, Mark mark, Done<bool> done) {
  auto at = instances_.find(key);
  if (at == instances_.end() || at->second.number != number)
    return done(failed_precondition("instance " + key.second + " of " + key.first + " is not announced any more"));
  apply(mark, &at->second.endpoint);
  marked_.push_back(std::move(done));
  tell_soon();
}

void MemRegistry::withdraw(const Key& key, uint64_t number) {
  auto at = instances_.find(key);
  if (at == instances_.end() || at->second.number != number) return;
  instances_.erase(at);
  tell_soon();
}

// What changes while the word is on its way travels with it: a snapshot is the truth of the moment it is told.
void MemRegistry::tell_soon() {
  if (std::exchange(will_tell_, true)) return;
  auto told = [self = anchor_.ref()] {
    if (self.get() != nullptr) self.get()->tell();
  };
  if (delay_ > Duration()) {
    timer_ = loop_.after(delay_, std::move(told));
  } else {
    loop_.post(std::move(told));
  }
}

void MemRegistry::tell() {
  will_tell_ = false;
  std::vector<Waiting> waiting = std::move(waiting_);
  waiting_.clear();
  std::vector<Done<bool>> marked = std::move(marked_);
  marked_.clear();
  Anchor<MemRegistry>::Ref self = anchor_.ref();
  policies_.tell(true);  // first, so that a channel has its policy when it hears of instances
  if (self.get() != nullptr) watchers_.tell(*this, true);
  for (Waiting& announced : waiting) {
    std::unique_ptr<Lease> lease = std::make_unique<MemLease>(self, std::move(announced.key), announced.number);
    announced.done(std::move(lease));
  }
  for (Done<bool>& done : marked) done(true);
}

Snapshot MemRegistry::snapshot(std::string_view service) {
  EndpointList endpoints;
  std::vector<std::string> names;
  for (const auto& [key, instance] : instances_) {
    if (key.first == service) endpoints.push_back(instance.endpoint);
    if (names.empty() || names.back() != key.first) names.push_back(key.first);
  }
  Snapshot snapshot = make_snapshot(std::move(endpoints), service, names);
  snapshot.died = died_.ids();
  snapshot.trouble = check_service_name(service);
  return snapshot;
}

Driver<Registry> mem_registry_driver() {
  auto open = [](const Url&, const Env& env) -> Result<std::unique_ptr<Registry>> {
    return std::unique_ptr<Registry>(std::make_unique<MemRegistry>(env.loop));
  };
  return {"mem", "mem:", open};
}

}  // namespace nebula
