// core/live_policies.h - LivePolicies: what the channels of one loop do, as the program and each channel have said it; where
// that stands in a file or in the registry, as it says there now. Lives on that loop, owned by its Worker.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "loop/anchor.h"
#include "service/channel.h"
#include "service/policy.h"

namespace nebula {

class LivePolicies {
 public:
  using GetRegistry = Fn<Result<Registry*>()>;  // that tells of places

  // `shared` is the program's, or the place of one; `text` what stood there when the engine was made.
  LivePolicies(std::string shared, std::string text, const Policies::Drivers& drivers, const Env& env, GetRegistry registry);

  // Of a channel that says that itself, before what is shared.
  Result<Policies> now(const std::string& own);
  // From now on, as long as the channel lives.
  void follow(Channel& channel, const std::string& service, const std::string& own);

 private:
  class Following;
  struct Place {
    std::string text;
    std::unique_ptr<Watch> watch = {};  // null: nobody has asked yet
  };
  struct Follower {
    std::string own;
    Fn<void(const Policies&)> set;
  };

  Result<std::string> text_of(const std::string& said);
  void on_text(const std::string& at, std::string text);

  const std::string shared_;
  const Policies::Drivers drivers_;
  const Env env_;
  GetRegistry registry_;
  std::map<std::string, Place> places_;
  std::map<uint64_t, Follower> followers_;
  uint64_t ids_given_ = 0;
  Anchor<LivePolicies> anchor_{*this};
};

}  // namespace nebula
