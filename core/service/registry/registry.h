// service/registry/registry.h - who serves a name. Schemes: dns etcd host static mem.
//
// Whole snapshots, never deltas: a snapshot can be lost, repeated or late and the next one still is the truth.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/done.h"
#include "base/fn.h"
#include "base/url.h"

namespace nebula {

using Labels = std::map<std::string, std::string, std::less<>>;

// One instance of a service.
struct Endpoint {
  std::string id;         // unique among the instances of a service; a restart makes a new one
  std::vector<Url> urls;  // in the order in which they should be tried
  uint32_t weight = 1;
  bool draining = false;  // finishes what it has, and takes no new calls
  bool unwell = false;    // says itself that it does not serve: it gets no calls until it does
  std::string zone = {};  // where it is, as far as anybody has said; service/balancer/closest.cc
  std::string group = {};    // "canary"; this, version and labels are what service/filter.h chooses by
  std::string version = {};  // of the program
  Labels labels = {};        // whatever else
  int64_t started = 0;       // in seconds since 1970, by its own clock; 0: not known
  uint64_t description = 0;  // digest of the service's methods and their messages: rpc/description.h. 0: it has none
  uint32_t rank = 0;      // is called when none of a lower one can be: service/registry/several.h. Is announced nowhere
  bool operator==(const Endpoint&) const = default;
};

using EndpointList = std::vector<Endpoint>;

struct Snapshot {
  std::shared_ptr<const EndpointList> endpoints;  // never null
  std::vector<std::string> died;                  // ids that ended without withdrawing: what they hold open is void
  std::vector<std::string> similar;               // when empty: announced names that look like the one asked for
  Status trouble;                                 // the registry itself is in trouble: say so when a call fails
  bool is_whole = true;                           // false: of several registries, not all have answered yet
};

class Watch {
 public:
  virtual ~Watch() = default;  // ends the watch; no call follows
};

// What an instance says of itself later than when it was announced.
enum class Mark : uint8_t { draining, well, unwell };

inline void apply(Mark mark, Endpoint* endpoint) {
  if (mark == Mark::draining)
    endpoint->draining = true;
  else
    endpoint->unwell = mark == Mark::unwell;
}

class Lease {
 public:
  virtual ~Lease() = default;  // withdraws the endpoint

  // Marks the endpoint, for as long as it is announced. Answers when every watcher can see it; not ok: they may see it
  // later. Where nothing is announced there is nothing to mark.
  virtual void mark(Mark mark, Done<bool> done) {
    (void)mark;
    done(true);
  }
  void drain(Done<bool> done) { mark(Mark::draining, std::move(done)); }
};

class Registry {
 public:
  virtual ~Registry() = default;

  // Calls on_change once with a fresh look, in a later step, and again with every change.
  virtual std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) = 0;

  // Answers when every watcher can see it.
  virtual void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) = 0;

  // Whether policies stand in it too, by names that a service might have.
  virtual bool keeps_policies() const { return false; }

  // Where it keeps them: what stands there under that name, good or bad. Calls once with a fresh look, in a later step, and
  // again with every change. None: nothing stands there.
  using OnPolicy = Fn<void(std::optional<std::string> text)>;
  virtual std::unique_ptr<Watch> watch_kept_policy(std::string_view name, OnPolicy on_policy) {
    (void)name, (void)on_policy;
    return nullptr;
  }

  // The text of a policy that stands at such a place, file:/path or registry:name: calls when there is one that can be used,
  // at once if it is known, and again when it has become another one. Null: it knows no such places. service/policy_places.h
  virtual std::unique_ptr<Watch> watch_policy(std::string_view place, Fn<void(std::string)> on_text) {
    (void)place, (void)on_text;
    return nullptr;
  }

  // Where an instance on this host should listen for its neighbours; nothing if the registry has no such place.
  virtual Result<std::optional<Url>> local_address(std::string_view id) {
    (void)id;
    return std::optional<Url>();
  }
};

// ok, or what is wrong with the name: [A-Za-z0-9_.-], not beginning with a dot, at most limits::service_name_max.
Status check_service_name(std::string_view service);

}  // namespace nebula
