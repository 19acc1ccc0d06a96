// service/registry/etcd_view.h - EtcdView: the instances and policies that stand in an etcd, kept in memory.
//
// The whole directory is read once and then watched, so that every answer comes from memory. When etcd cannot be reached
// what was known stays, and trouble() says why it may be old: a lost registry never empties a list. Nor does one that
// has lost its memory: who is not there any more after such a time is kept for the life of a lease, so that he may
// announce himself again. Lives on one loop.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loop/anchor.h"
#include "loop/loop.h"
#include "service/registry/etcd_api.h"
#include "service/registry/policy_texts.h"
#include "service/registry/watchers.h"

namespace nebula {

class EtcdView final : ConversationEvents {
 public:
  // `on_change` after each change, with trouble() too; it may destroy the view. Policies are put into `policies`.
  EtcdView(const EtcdPlace& place, const Env& env, PolicyTexts& policies, Fn<void()> on_change);
  ~EtcdView();

  void start();                                  // unless it has been
  bool has_looked() const { return has_looked_; }  // it has read all of it, or found that it cannot
  EndpointList endpoints(std::string_view service) const;
  std::vector<std::string> services() const;
  const Status& trouble() const { return trouble_; }
  Changes take_changes() { return std::exchange(changes_, {}); }  // since the last time

 private:
  struct Known {
    Endpoint endpoint;
    uint64_t reading;  // the last one that found it, or during which it came
  };

  void begin_reading();
  void read(std::string from, int64_t revision);
  void on_page(EtcdApi::Page page);
  void put(std::string_view key, std::string_view value);
  void remove(std::string_view key);
  void forget_vanished();
  void fail(Status why);
  void leave();  // the connection
  void on_message(Bytes message) override;
  void on_end(Status why) override { fail(std::move(why)); }

  const EtcdPlace& place_;
  Env env_;
  PolicyTexts& policies_;
  Fn<void()> on_change_;
  std::unique_ptr<EtcdApi> api_;  // null: not started, or waiting for the next try
  std::unique_ptr<Conversation> watch_;
  std::unique_ptr<Timer> retry_timer_, grace_timer_;
  Duration backoff_ = limits::etcd_backoff_first;
  std::map<std::string, std::map<std::string, Known>, std::less<>> instances_;  // by service and id
  uint64_t reading_ = 0;  // counts; what is answered to an earlier one is not heard
  bool has_looked_ = false;
  Status trouble_;
  Changes changes_;
  Anchor<EtcdView> anchor_{*this};
};

}  // namespace nebula
