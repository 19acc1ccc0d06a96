// service/channel.h - the virtual connection: a name that behaves like one peer.
//
// Watches the registry, keeps a node for each instance, gives each call to one of them; fails fast, and says why, when
// there is none. Nothing happens before the first call. Lives on one loop.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.h"
#include "rpc/service.h"
#include "service/checks.h"
#include "service/node.h"
#include "service/policy.h"
#include "transport/tls_options.h"

namespace nebula {

class Commons;
class Seat;
struct News;

struct ChannelLimits {
  size_t message_bytes_max = limits::message_bytes_max;
  SessionOptions session = {};
  Duration idle_max = limits::channel_idle_max;  // without a call for so long, connections are closed; 0: never
  Duration backoff_max = limits::backoff_max;    // between two attempts to connect to an instance
};

struct ChannelName {
  std::string service;    // asked of the registry, and said in errors
  std::string authority;  // the :authority of its requests
  std::optional<TlsOptions> tls = {};  // for its tls: addresses; given, no other address is used
};

class Channel final : public Service, public NodeEvents, private MetricsSource {
 public:
  // References outlive the channel.
  Channel(const Env& env, Registry& registry, ChannelName name, ChannelPolicy policy, ChannelLimits limits = {});
  ~Channel() override;  // calls that run or wait end with unavailable

  // Tells the channels that have sat down at the same name which nodes it leaves alone and what it retries, and hears of
  // theirs. Before the first call; the commons outlive it.
  void share(Commons& commons, std::string name);

  void call(Request request, Reply reply) override;

  // For calls from now on, and the next tries of those that run. What is known of nodes stays, as do turns, windows of
  // breakers and tokens where the new policy says the same of them as the old one.
  void set_policy(ChannelPolicy policy);
  // Ends with the channel: who sets its policy.
  void hold(std::unique_ptr<Watch> policy_watch) { policy_watch_ = std::move(policy_watch); }

  size_t node_count() const { return nodes_.size(); }
  size_t isolated_count() const;  // of them; they get no calls, or probes alone
  size_t working_count() const;   // of them; they are connected, and not isolated
  ChannelReport report() const override;

 private:
  struct Waiting {
    int64_t turn;  // in the order of all calls: what comes back from a try keeps its place
    Request request;
    Reply reply;
  };

  // Between two tries.
  struct Pausing {
    Waiting call;
    Status last;  // how the last one ended
    std::unique_ptr<Timer> timer;
  };

  void count(const Request& request);   // among the calls of its method
  void end(Waiting& call, Result<Response> result);  // of one that no node has
  void look();                          // a fresh look at the registry
  void on_snapshot(Snapshot snapshot);
  void update_nodes();                  // tells them and the balancer who is there
  void on_node_changed() override;
  bool is_in_need() const override;
  void on_call_succeeded() override {
    if (retry_) retry_->on_success();
  }
  bool may_isolate(const Node& node) override { return may_isolate(node, policy_.isolated_share); }
  bool may_isolate(const Node& node, double share) const;
  void on_isolated(const Node& node, Time until) override { tell_isolated(node, until, policy_.isolated_share); }
  void tell_isolated(const Node& node, Time until, double share);
  void on_news(const News& news);
  void tell_allowance_soon();           // where others share it
  void restore_if_alone();              // where all that work are isolated, they are not
  void look_for_outliers();
  bool place(Waiting& call);            // true: a node has it
  const NodeState* pick(const Request& request);
  const MethodPolicy* own_policy(const Request& request) const;   // null: its method has none
  const RetryOptions* retry_options(const Request& request) const;
  RetriesLeft retries_left(const Request& request) const;  // after the try that is due
  void place_again(Waiting call, uint64_t node, Ending why);
  void place_soon(Waiting call);
  void pause(Waiting call, Duration length, Status last);
  void wait(Waiting call);
  void serve_waiting();
  void widen();                         // where waiting calls lack nothing but a stream
  void fail_waiting();                  // those that do not want to wait any longer
  bool may_wait() const;                // a node may soon be there
  Status why_not() const;
  void leave(std::unique_ptr<Node> node);  // to finish its calls
  void remove(Node* node);
  void look_for_idleness(Duration wait);
  void go_idle();                       // as if there had been no call yet

  Env env_;
  Registry& registry_;
  const std::string service_;
  const std::string authority_;
  const std::optional<TlsOptions> tls_;
  ChannelPolicy policy_;
  std::optional<Retry> retry_;
  std::optional<Recovery> recovery_;    // none: all calls get in at all times
  ChannelLimits limits_;
  Metrics::Target& metrics_;
  std::string counted_;                 // path of the last call, and where it is counted: the next is like it as a rule
  ClientMetrics* counts_ = nullptr;
  const uint64_t client_;               // drawn: by which it differs from others of the same name

  std::unique_ptr<Seat> seat_;          // null: it shares nothing
  std::unique_ptr<Timer> allowance_timer_;  // set while there is something to tell
  std::unique_ptr<Watch> policy_watch_;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Timer> idle_timer_;   // null: idle
  Time called_;                         // the last time
  Time needed_{INT64_MIN / 2};          // the last time that a call had no node to go to
  std::unique_ptr<Timer> outlier_timer_;  // set while there are calls, and nodes to compare
  std::unique_ptr<Timer> look_timer_;   // set while the first word of a watch is awaited
  Status trouble_;                      // of the registry
  std::vector<std::string> similar_;
  std::string filtered_;                // why no instance of those that there are is used; empty: some are
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::unique_ptr<Node>> leaving_;  // gone from the registry, finishing their calls
  std::map<int64_t, Waiting> waiting_;          // by their turn
  std::unique_ptr<Checks> checks_;              // null: no call has asked for it
  std::map<int64_t, Pausing> pausing_;
  int64_t next_turn_ = 0;
  uint64_t next_node_ = 0;
  Anchor<Channel> anchor_{*this};
};

// A channel to every name: the first part of a call's path is the name, so one of these serves a whole program.
class Channels final : public Service {
 public:
  using Make = Fn<Result<std::unique_ptr<Channel>>(std::string service)>;
  explicit Channels(Make make) : make_(std::move(make)) {}

  void call(Request request, Reply reply) override;

 private:
  Make make_;
  std::map<std::string, std::unique_ptr<Channel>, std::less<>> channels_;
};

// "/shop.v1.Cart/Add" -> "shop.v1.Cart"
std::string_view service_of_path(std::string_view path);

}  // namespace nebula
