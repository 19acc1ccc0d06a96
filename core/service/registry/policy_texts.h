// service/registry/policy_texts.h - PolicyTexts: the policies that stand in a registry, by name, and who watches them.
//
// As they are, good or bad: service/policy_places.h says which are used. Lives on one loop; owned by a registry, filled by
// what it knows of its store.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "loop/anchor.h"
#include "service/registry/registry.h"

namespace nebula {

class PolicyTexts {
 public:
  std::unique_ptr<Watch> watch(std::string_view name, Registry::OnPolicy on_policy);

  void put(std::string_view name, std::string text);
  void remove(std::string_view name);
  // All of the store is read anew; what is not found again goes when that is said.
  void begin_reading() { reading_++; }
  void forget_vanished();

  bool have_changed() const { return have_changed_; }  // since they were told
  // Tells everybody whose policy is not what he was told last. Those who were told nothing yet wait for a fresh look. What
  // was told may have destroyed this object when it returns.
  void tell(bool is_fresh);

 private:
  class Watching;
  struct Text {
    std::string text;
    uint64_t reading = 0;  // the last one that found it, or during which it came
  };
  struct Watcher {
    std::string name;
    Registry::OnPolicy on_policy;
    bool is_told = false;
    std::optional<std::string> told = {};
  };

  std::map<std::string, Text, std::less<>> texts_;  // by name
  std::map<uint64_t, Watcher> watchers_;
  uint64_t ids_given_ = 0, reading_ = 0;
  bool have_changed_ = false;
  Anchor<PolicyTexts> anchor_{*this};
};

}  // namespace nebula
