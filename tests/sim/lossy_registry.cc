// sim/lossy_registry.cc - news and answers, passed on or held back.
#include "sim/lossy_registry.h"

#include <utility>

namespace nebula::sim {

class LossyRegistry::LossyLease final : public Lease {
 public:
  LossyLease(Anchor<LossyRegistry>::Ref registry, std::unique_ptr<Lease> lease)
      : registry_(std::move(registry)), lease_(std::move(lease)) {}

  void mark(Mark mark, Done<bool> done) override {
    lease_->mark(mark, [registry = registry_, done = std::move(done)](Result<bool> marked) mutable {
      if (registry.get() == nullptr) return;
      registry.get()->when_there([done = std::move(done), marked = std::move(marked)]() mutable {
        done(std::move(marked));
      });
    });
  }

 private:
  Anchor<LossyRegistry>::Ref registry_;
  std::unique_ptr<Lease> lease_;
};

std::unique_ptr<Watch> LossyRegistry::watch(std::string_view service, Fn<void(Snapshot)> on_change) {
  std::unique_ptr<Watch> watch = watchers_.add(service, std::move(on_change));
  if (truth_watch_ != nullptr) {
    loop_.post([self = anchor_.ref()] {
      if (self.get() != nullptr) self.get()->tell();
    });
    return watch;
  }
  truth_watch_ = truth_.watch(service, [this](Snapshot now) {
    truth_now_ = std::move(now);
    was_heard_ = true;
    if (!is_lost_) tell();
  });
  return watch;
}

void LossyRegistry::announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) {
  auto answer = [registry = anchor_.ref(), done = std::move(done)](Result<std::unique_ptr<Lease>> lease) mutable {
    if (registry.get() == nullptr || !lease.ok()) return done(std::move(lease));
    std::unique_ptr<Lease> own = std::make_unique<LossyLease>(registry, std::move(*lease));
    registry.get()->when_there([done = std::move(done), own = std::move(own)]() mutable { done(std::move(own)); });
  };
  truth_.announce(service, std::move(self), std::move(answer));
}

void LossyRegistry::lose() {
  is_lost_ = true;
  tell();
}

void LossyRegistry::come_back() {
  is_lost_ = false;
  tell();
  for (Fn<void()>& answer : std::exchange(held_back_, {})) answer();
}

void LossyRegistry::when_there(Fn<void()> then) {
  if (is_lost_)
    held_back_.push_back(std::move(then));
  else
    then();
}

void LossyRegistry::tell() {
  if (!is_lost_) known_ = truth_now_;
  if (was_heard_) watchers_.tell(*this, true);
}

Snapshot LossyRegistry::snapshot(std::string_view) {
  Snapshot snapshot = known_;
  if (snapshot.endpoints == nullptr) snapshot.endpoints = std::make_shared<const EndpointList>();
  if (is_lost_) snapshot.trouble = unavailable("the registry is lost");
  return snapshot;
}

}  // namespace nebula::sim
