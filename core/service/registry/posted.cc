// service/registry/posted.cc - two halves that post to each other.
//
// Each finds the other by plain pointer, and that is safe by order, for what one thread posts keeps its order: home's
// half ends inside run_sync, behind every question posted before; and the last thing home posts is this loop's half
// itself, so that it goes behind every answer.
#include "service/registry/posted.h"

#include <map>
#include <utility>
#include <vector>

namespace nebula {

class PostedRegistry::PostedWatch final : public Watch {
 public:
  PostedWatch(Anchor<PostedRegistry>::Ref registry, uint64_t id) : registry_(std::move(registry)), id_(id) {}
  ~PostedWatch() override {
    if (PostedRegistry* registry = registry_.get()) registry->end_watch(id_);
  }

 private:
  Anchor<PostedRegistry>::Ref registry_;
  uint64_t id_;
};

class PostedRegistry::PostedLease final : public Lease {
 public:
  PostedLease(Anchor<PostedRegistry>::Ref registry, uint64_t id) : registry_(std::move(registry)), id_(id) {}
  ~PostedLease() override {
    if (PostedRegistry* registry = registry_.get()) registry->end_lease(id_);
  }
  void mark(Mark mark, Done<bool> done) override {
    if (PostedRegistry* registry = registry_.get()) return registry->mark_lease(id_, mark, std::move(done));
    done(unavailable("the registry was closed"));
  }

 private:
  Anchor<PostedRegistry>::Ref registry_;
  uint64_t id_;
};

// On this loop: who waits for answers. Empty once its registry has gone.
class PostedRegistry::Here {
 public:
  explicit Here(Anchor<PostedRegistry>::Ref registry) : registry_(std::move(registry)) {}

  void on_change(uint64_t id, Snapshot snapshot) {
    auto at = watchers_.find(id);
    if (at == watchers_.end()) return;
    // Taken out while it runs: it may end its watch, or destroy the registry.
    Fn<void(Snapshot)> then = std::move(at->second);
    then(std::move(snapshot));
    at = watchers_.find(id);
    if (at != watchers_.end()) at->second = std::move(then);
  }

  void on_text(uint64_t id, std::string text) {
    auto at = readers_.find(id);
    if (at == readers_.end()) return;
    Fn<void(std::string)> then = std::move(at->second);
    then(std::move(text));
    at = readers_.find(id);
    if (at != readers_.end()) at->second = std::move(then);
  }

  void on_announced(uint64_t id, Status status) {
    auto at = announcers_.find(id);
    if (at == announcers_.end()) return;
    Done<std::unique_ptr<Lease>> done = std::move(at->second);
    announcers_.erase(at);
    if (!status.ok()) return done(std::move(status));
    done(std::unique_ptr<Lease>(std::make_unique<PostedLease>(registry_, id)));
  }

  void on_marked(uint64_t id, Result<bool> result) {
    auto at = markers_.find(id);
    if (at == markers_.end()) return;
    Done<bool> done = std::move(at->second);
    markers_.erase(at);
    done(std::move(result));
  }

  std::map<uint64_t, Fn<void(Snapshot)>> watchers_;
  std::map<uint64_t, Fn<void(std::string)>> readers_;
  std::map<uint64_t, Done<std::unique_ptr<Lease>>> announcers_;
  std::map<uint64_t, Done<bool>> markers_;

 private:
  Anchor<PostedRegistry>::Ref registry_;
};

// On home's loop: what was asked there.
class PostedRegistry::There {
 public:
  There(Registry& registry, Loop& here_loop, Here& here) : registry_(registry), here_loop_(here_loop), here_(here) {}

  void watch(uint64_t id, const std::string& service) {
    watches_[id] = registry_.watch(service, [this, id](Snapshot snapshot) {
      here_loop_.post(
          [here = &here_, id, snapshot = std::move(snapshot)]() mutable { here->on_change(id, std::move(snapshot)); });
    });
  }

  void watch_policy(uint64_t id, const std::string& place) {
    watches_[id] = registry_.watch_policy(place, [this, id](std::string text) {
      here_loop_.post([here = &here_, id, text = std::move(text)]() mutable { here->on_text(id, std::move(text)); });
    });
  }

  void announce(uint64_t id, const std::string& service, Endpoint self) {
    // May be answered after this half has ended; the lease is dropped then, and so withdrawn.
    registry_.announce(service, std::move(self), [there = anchor_.ref(), id](Result<std::unique_ptr<Lease>> lease) {
      if (there.get() != nullptr) there.get()->on_announced(id, std::move(lease));
    });
  }

  void mark(uint64_t id, uint64_t lease, Mark mark) {
    auto at = leases_.find(lease);
    if (at == leases_.end()) return on_marked(id, failed_precondition("it is not announced any more"));
    at->second->mark(mark, [there = anchor_.ref(), id](Result<bool> result) {
      if (there.get() != nullptr) there.get()->on_marked(id, std::move(result));
    });
  }

  std::map<uint64_t, std::unique_ptr<Watch>> watches_;
  std::map<uint64_t, std::unique_ptr<Lease>> leases_;

 private:
  void on_announced(uint64_t id, Result<std::unique_ptr<Lease>> lease) {
    Status status = lease.status();
    if (lease.ok()) leases_[id] = std::move(*lease);
    here_loop_.post(
        [here = &here_, id, status = std::move(status)]() mutable { here->on_announced(id, std::move(status)); });
  }

  void on_marked(uint64_t id, Result<bool> result) {
    here_loop_.post(
        [here = &here_, id, result = std::move(result)]() mutable { here->on_marked(id, std::move(result)); });
  }

  Registry& registry_;
  Loop& here_loop_;
  Here& here_;
  Anchor<There> anchor_{*this};
};

PostedRegistry::PostedRegistry(LoopThread& home, Registry& registry, Loop& here)
    : home_(home),
      registry_(registry),
      loop_(here),
      here_(std::make_unique<Here>(anchor_.ref())),
      there_(std::make_unique<There>(registry, here, *here_)) {}

PostedRegistry::~PostedRegistry() {
  if (fork_generation() != fork_generation_) {
    // Home's thread did not come along, so nobody can end what is there.
    static_cast<void>(here_.release());
    static_cast<void>(there_.release());
    return;
  }
  std::map<uint64_t, Done<std::unique_ptr<Lease>>> unanswered = std::move(here_->announcers_);
  here_->announcers_.clear();
  std::map<uint64_t, Done<bool>> unmarked = std::move(here_->markers_);
  here_->markers_.clear();
  here_->watchers_.clear();
  here_->readers_.clear();
  home_.run_sync([this] {
    there_.reset();
    loop_.post([here = std::move(here_)] {});
  });
  for (auto& [id, done] : unanswered) done(cancelled("the registry was closed"));
  for (auto& [id, done] : unmarked) done(cancelled("the registry was closed"));
}

std::unique_ptr<Watch> PostedRegistry::watch(std::string_view service, Fn<void(Snapshot)> on_change) {
  uint64_t id = ++ids_given_;
  here_->watchers_[id] = std::move(on_change);
  home_.loop().post([there = there_.get(), id, name = std::string(service)] { there->watch(id, name); });
  return std::make_unique<PostedWatch>(anchor_.ref(), id);
}

std::unique_ptr<Watch> PostedRegistry::watch_policy(std::string_view place, Fn<void(std::string)> on_text) {
  uint64_t id = ++ids_given_;
  here_->readers_[id] = std::move(on_text);
  home_.loop().post([there = there_.get(), id, place = std::string(place)] { there->watch_policy(id, place); });
  return std::make_unique<PostedWatch>(anchor_.ref(), id);
}

void PostedRegistry::announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) {
  uint64_t id = ++ids_given_;
  here_->announcers_[id] = std::move(done);
  home_.loop().post([there = there_.get(), id, name = std::string(service), self = std::move(self)]() mutable {
    there->announce(id, name, std::move(self));
  });
}

Result<std::optional<Url>> PostedRegistry::local_address(std::string_view id) {
  Result<std::optional<Url>> address = std::optional<Url>();
  home_.run_sync([this, &address, id] { address = registry_.local_address(id); });
  return address;
}

void PostedRegistry::end_watch(uint64_t id) {
  here_->watchers_.erase(id);
  here_->readers_.erase(id);
  home_.loop().post([there = there_.get(), id] { there->watches_.erase(id); });
}

void PostedRegistry::end_lease(uint64_t id) {
  home_.loop().post([there = there_.get(), id] { there->leases_.erase(id); });
}

void PostedRegistry::mark_lease(uint64_t id, Mark mark, Done<bool> done) {
  uint64_t marker = ++ids_given_;
  here_->markers_[marker] = std::move(done);
  home_.loop().post([there = there_.get(), marker, id, mark] { there->mark(marker, id, mark); });
}

}  // namespace nebula
