// service/registry/posted.h - PostedRegistry: a registry that lives on another loop, seen from this one.
//
// The engine has one registry, on its home loop, and many loops that ask it. Questions are posted there and answers
// posted back; both sides name watches and leases by ids, which are not used twice. Lives on `here`, owned by who asks; `home` and its registry
// outlive it.
#pragma once

#include <memory>

#include "loop/anchor.h"
#include "loop/loop_thread.h"
#include "service/registry/registry.h"

namespace nebula {

class PostedRegistry final : public Registry {
 public:
  // `registry` is touched on home's thread only.
  PostedRegistry(LoopThread& home, Registry& registry, Loop& here);
  // Waits until home has ended all watches and leases; nothing is posted here any more. Announcements that were not
  // answered are answered `cancelled`.
  ~PostedRegistry() override;

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override;
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override;
  std::unique_ptr<Watch> watch_policy(std::string_view place, Fn<void(std::string)> on_text) override;
  Result<std::optional<Url>> local_address(std::string_view id) override;  // waits for home

 private:
  class Here;
  class There;
  class PostedWatch;
  class PostedLease;

  void end_watch(uint64_t id);
  void end_lease(uint64_t id);
  void mark_lease(uint64_t id, Mark mark, Done<bool> done);

  LoopThread& home_;
  Registry& registry_;
  Loop& loop_;
  uint64_t ids_given_ = 0;
  uint64_t fork_generation_ = fork_generation();
  Anchor<PostedRegistry> anchor_{*this};
  std::unique_ptr<Here> here_;    // touched on this loop
  std::unique_ptr<There> there_;  // touched on home's
};

}  // namespace nebula
