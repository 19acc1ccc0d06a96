// service/registry/several.cc - what each has said, as one snapshot; what is announced, in each.
#include "service/registry/several.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/limits.h"
#include "base/tally.h"
#include "loop/anchor.h"
#include "service/registry/watchers.h"

namespace nebula {

namespace {

using Heard = std::vector<std::optional<Snapshot>>;  // by registry; none: it has not answered yet

// Who has died where his death is seen at once is not there, though a lease elsewhere keeps him listed for a while.
std::set<std::string> dead_of(const Heard& heard) {
  std::set<std::string> dead;
  for (const std::optional<Snapshot>& each : heard) {
    if (!each) continue;
    std::set<std::string> of_it(each->died.begin(), each->died.end());
    for (const Endpoint& endpoint : *each->endpoints) of_it.erase(endpoint.id);  // announced again
    dead.merge(of_it);
  }
  return dead;
}

void add(Endpoint& known, const Endpoint& more) {
  for (const Url& url : more.urls)
    if (std::find(known.urls.begin(), known.urls.end(), url) == known.urls.end()) known.urls.push_back(url);
  known.draining |= more.draining;
  known.unwell |= more.unwell;
}

Snapshot merged(const Heard& heard) {
  Snapshot all;
  EndpointList list;
  std::map<std::string_view, size_t> index;
  std::set<std::string> dead = dead_of(heard);
  std::set<std::string_view> troubles;
  std::string trouble;
  uint32_t rank = 0;
  for (const std::optional<Snapshot>& each : heard) {
    all.is_whole &= each.has_value();
    if (!each) continue;
    size_t before = list.size();
    for (const Endpoint& endpoint : *each->endpoints) {
      if (dead.contains(endpoint.id)) continue;
      auto [at, is_new] = index.try_emplace(endpoint.id, list.size());
      if (!is_new) {
        add(list[at->second], endpoint);
        continue;
      }
      list.push_back(endpoint);
      list.back().rank = rank;
    }
    if (list.size() > before) rank++;
    all.died.insert(all.died.end(), each->died.begin(), each->died.end());
    for (const std::string& name : each->similar)
      if (std::find(all.similar.begin(), all.similar.end(), name) == all.similar.end()) all.similar.push_back(name);
    if (each->trouble.ok() || !troubles.insert(each->trouble.message()).second) continue;
    trouble.append(trouble.empty() ? "" : "; ").append(each->trouble.message());
    all.trouble = Status(all.trouble.ok() ? each->trouble.code() : all.trouble.code(), trouble);
  }
  if (!list.empty()) all.similar.clear();
  all.endpoints = std::make_shared<const EndpointList>(std::move(list));
  return all;
}

// What is announced in several, or on the way there.
class SeveralLease final : public Lease {
 public:
  void mark(Mark mark, Done<bool> done) override {
    std::shared_ptr<Tally> tally = std::make_shared<Tally>(Tally{leases.size(), {}, std::move(done)});
    for (const std::unique_ptr<Lease>& each : leases)
      each->mark(mark, [tally](Result<bool> result) { tally->count(result.status()); });
  }

  std::vector<std::unique_ptr<Lease>> leases;
};

// Answers once, when the last has answered.
struct Announcing {
  size_t left;
  Done<std::unique_ptr<Lease>> done;
  std::vector<std::unique_ptr<Lease>> leases;  // by registry
  std::vector<Status> failures;

  void on_answer(size_t at, Result<std::unique_ptr<Lease>> lease) {
    if (lease.ok())
      leases[at] = std::move(*lease);
    else
      failures[at] = lease.status();
    if (--left > 0) return;
    for (Status& failure : failures) {
      if (failure.ok()) continue;
      leases.clear();
      return done(std::move(failure));
    }
    std::unique_ptr<SeveralLease> all = std::make_unique<SeveralLease>();
    all->leases = std::move(leases);
    done(std::unique_ptr<Lease>(std::move(all)));
  }
};

}  // namespace

class SeveralRegistries::Watching final : public Watch {
 public:
  Watching(const std::vector<std::unique_ptr<Registry>>& registries, std::string_view service,
           Fn<void(Snapshot)> on_change)
      : on_change_(std::move(on_change)), heard_(registries.size()) {
    for (size_t at = 0; at < registries.size(); at++)
      watches_.push_back(registries[at]->watch(service, [this, at](Snapshot snapshot) { hear(at, std::move(snapshot)); }));
  }

 private:
  void hear(size_t at, Snapshot snapshot) {
    heard_[at] = std::move(snapshot);
    // That there is nobody is said when all have said so; somebody is good enough at once, however slow the others are.
    auto has_any = [](const std::optional<Snapshot>& each) { return each && !each->endpoints->empty(); };
    Snapshot all = merged(heard_);
    if (!told_ && !all.is_whole && !std::any_of(heard_.begin(), heard_.end(), has_any)) return;
    if (told_ && is_same(*told_, all)) return;
    told_ = all;
    // Taken out while it runs: it may end this watch.
    Anchor<Watching>::Ref self = anchor_.ref();
    Fn<void(Snapshot)> on_change = std::move(on_change_);
    on_change(std::move(all));
    if (self.get() != nullptr) on_change_ = std::move(on_change);
  }

  Fn<void(Snapshot)> on_change_;
  Heard heard_;
  std::optional<Snapshot> told_;
  std::vector<std::unique_ptr<Watch>> watches_;
  Anchor<Watching> anchor_{*this};
};

std::unique_ptr<Watch> SeveralRegistries::watch(std::string_view service, Fn<void(Snapshot)> on_change) {
  return std::make_unique<Watching>(registries_, service, std::move(on_change));
}

void SeveralRegistries::announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) {
  size_t count = registries_.size();
  std::shared_ptr<Announcing> announcing(new Announcing{count, std::move(done), {}, std::vector<Status>(count)});
  announcing->leases.resize(count);
  // The last answer may come at once, and destroy this object.
  std::string name(service);
  for (size_t at = 0; at < count; at++)
    registries_[at]->announce(name, self, [announcing, at](Result<std::unique_ptr<Lease>> lease) {
      announcing->on_answer(at, std::move(lease));
    });
}

Result<std::optional<Url>> SeveralRegistries::local_address(std::string_view id) {
  Result<std::optional<Url>> none = std::optional<Url>();
  for (const std::unique_ptr<Registry>& registry : registries_) {
    Result<std::optional<Url>> address = registry->local_address(id);
    if (address.ok() && address->has_value()) return address;
    if (none.ok() && !address.ok()) none = std::move(address);
  }
  return none;
}

// ---- policies

class SeveralRegistries::WatchingPolicy final : public Watch {
 public:
  WatchingPolicy(const std::vector<std::unique_ptr<Registry>>& registries, std::string_view name, OnPolicy on_policy)
      : on_policy_(std::move(on_policy)), heard_(registries.size()) {
    for (size_t at = 0; at < registries.size(); at++) {
      heard_[at].has_answered = !registries[at]->keeps_policies();
      if (heard_[at].has_answered) continue;
      watches_.push_back(registries[at]->watch_kept_policy(name, [this, at](std::optional<std::string> text) {
        heard_[at] = {true, std::move(text)};
        tell();
      }));
    }
  }

 private:
  struct Heard {
    bool has_answered = false;
    std::optional<std::string> text = {};
  };

  // The first that has one; so all before it must have answered.
  void tell() {
    auto first = std::find_if(heard_.begin(), heard_.end(), [](const Heard& each) { return !each.has_answered || each.text; });
    Heard now = first == heard_.end() ? Heard{true} : *first;
    if (!now.has_answered || (told_.has_answered && told_.text == now.text)) return;
    told_ = now;
    // Taken out while it runs: it may end this watch.
    Anchor<WatchingPolicy>::Ref self = anchor_.ref();
    OnPolicy on_policy = std::move(on_policy_);
    on_policy(std::move(now.text));
    if (self.get() != nullptr) on_policy_ = std::move(on_policy);
  }

  OnPolicy on_policy_;
  std::vector<Heard> heard_;  // by registry
  Heard told_;
  std::vector<std::unique_ptr<Watch>> watches_;
  Anchor<WatchingPolicy> anchor_{*this};
};

bool SeveralRegistries::keeps_policies() const {
  return std::any_of(registries_.begin(), registries_.end(), [](const auto& each) { return each->keeps_policies(); });
}

std::unique_ptr<Watch> SeveralRegistries::watch_kept_policy(std::string_view name, OnPolicy on_policy) {
  return std::make_unique<WatchingPolicy>(registries_, name, std::move(on_policy));
}

// ---- the text

Result<std::vector<Url>> parse_registries(std::string_view text) {
  constexpr std::string_view spaces = " \t\r\n";
  const std::string all(text);
  std::vector<Url> urls;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(spaces), text.size()));
    if (text.empty() && !urls.empty()) return urls;
    std::string_view one = text.substr(0, text.find_first_of(spaces));
    Result<Url> url = Url::parse(one);
    if (!url.ok()) return url.status().with_context("registry \"" + all + "\"");
    if (std::find(urls.begin(), urls.end(), *url) != urls.end())
      return invalid_argument("registry \"" + std::string(one) + "\": it is there twice");
    if (urls.size() == limits::registries_max)
      return invalid_argument("there are more than " + std::to_string(limits::registries_max) + " registries");
    urls.push_back(std::move(*url));
    text.remove_prefix(one.size());
  }
}

Result<std::unique_ptr<Registry>> open_registries(const std::vector<Url>& urls, const DriverTable<Registry>& drivers,
                                                  const Env& env) {
  std::vector<std::unique_ptr<Registry>> registries;
  for (const Url& url : urls) {
    TRY(std::unique_ptr<Registry> registry, drivers.open(url, env));
    registries.push_back(std::move(registry));
  }
  if (registries.size() == 1) return std::move(registries.front());
  return std::unique_ptr<Registry>(std::make_unique<SeveralRegistries>(std::move(registries)));
}

}  // namespace nebula
