// service/node.h - one endpoint of a channel: dialled, connected, measured, left alone, lost, dialled again.
//
// A node outlives its connections, so that backing off, what was measured and its breaker are remembered. Lives on one
// loop, owned by a Channel.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/driver.h"
#include "base/limits.h"
#include "loop/anchor.h"
#include "http2/stream.h"
#include "loop/loop.h"
#include "rpc/client_call.h"
#include "service/balancer/balancer.h"
#include "service/breaker/isolation.h"
#include "service/ejection.h"
#include "service/links.h"

namespace nebula {

class Node;
class Widening;

// What a node tells its channel.
struct NodeEvents {
  virtual void on_call_succeeded() = 0;
  // Its breaker has had enough: whether it may be left alone, for others are there.
  virtual bool may_isolate(const Node& node) = 0;
  virtual void on_isolated(const Node& node, Time until) = 0;  // by its breaker
  virtual void on_node_changed() = 0;  // usable, or failed, or room again: look whether waiting calls can go
  virtual bool is_in_need() const = 0;  // calls have nowhere to go, or had not a moment ago

 protected:
  ~NodeEvents() = default;
};

class Node final : public NodeState, private LinkEvents {
 public:
  // The number is its own among all that its channel has ever had.
  Node(const Env& env, Endpoint endpoint, NodeEvents& up, const SessionOptions& session = {}, uint64_t number = 0);
  ~Node();  // cuts its connections; calls on them fail

  void connect();  // unless it is connected, or about to be, or takes no calls
  void hurry();    // calls have nowhere to go: it is not waited long before it is dialled again

  // What the registry says of it now: its weight and zone, whether it drains or is unwell. The addresses are as they were.
  void set_endpoint(const Endpoint& now);

  // It has joined others that work: balancers may give it its share little by little.
  void set_newcomer() { is_newcomer_ = true; }
  // Whether anybody wants to know how fast it is: with no others to compare there is no reason to pay for it.
  void set_measured(bool on) { is_measured_ = on; }

  // Without a breaker, or measuring, no failure is held against it.
  void set_breaker(std::unique_ptr<Breaker> breaker) { breaker_ = std::move(breaker); }
  // Asks the peer of each connection whether that service is well, and calls it only then. The authority outlives the
  // node; before it is connected.
  void watch_health(std::string service, std::string_view authority) {
    health_service_ = std::move(service);
    health_authority_ = authority;
  }
  // Takes what the peer reports of its load; null: it does not. They outlive the node.
  void set_load_options(const LoadOptions* options) { load_options_ = options; }
  // It gets no calls for so long, longer each time; then a few, as probes. Until when.
  Time isolate(Duration first, Duration most);
  void isolate_until(Time until);               // the same, as another channel has found; if that is longer
  // The longest pause between two attempts to connect, but for a fifth by chance.
  void set_backoff_max(Duration most) { backoff_max_ = most; }
  void restore();                               // it gets calls as ever, for there is no other
  uint64_t number() const { return number_; }
  bool is_isolated() const { return isolation_.state() != Isolation::State::closed; }
  bool is_working() const;                      // connected, and not isolated
  NodeReport report() const;
  Outcome take_outcome() { return std::exchange(outcome_, {}); }  // of its calls since the last time

  // Calls wait: where it has as many as its peer takes on one connection, it gets a further one. False: it does not.
  bool widen();

  // Puts the call on a connection. Not ok: it cannot take one now, and request, reply and again are as they were.
  Status call(std::string_view authority, size_t message_bytes_max, Request& request, Reply& reply,
              Again* again = nullptr);

  // Takes no more calls; answers when the last one has ended. For an endpoint that has left the registry.
  void retire(Fn<void()> then);

  // A call may wait for it: connected (though perhaps full, or with its health still asked for), or on the way there for
  // the first time or again.
  bool is_promising() const {
    return !endpoint.draining && !endpoint.unwell &&
           (state_ == State::connecting || (state_ == State::connected && !is_unwell()));
  }
  // never(): a call runs; the beginning of time: it has no connection
  Time idle_since() const { return links_.idle_since(); }
  bool is_unwell() const;                     // it says that it does not serve: in the registry, or on its connection
  const Status& trouble() const;              // why it cannot be used; ok if it can, or nothing is known

  NodeMetrics counts;  // of its picks and ejections by the channel

 private:
  enum class State : uint8_t { idle, connecting, connected, waiting };

  // LinkEvents
  void on_link_spoken(Link& link) override;
  void on_link_room(Link& link) override;
  void on_link_health(Link& link) override;
  void on_link_draining(Link& link, Status why) override;
  void on_link_closed(Link& link, Status why) override;
  uint32_t on_call_started() override;
  void on_call_begun(uint32_t era, Duration took) override;
  void on_call_ended(uint32_t era, Code code, Fate fate, std::optional<Duration> took, size_t bucket) override;
  void on_load_report(std::string_view report) override;

  void dial(size_t url_index, std::string failures);
  void dial_beside(size_t url_index);  // if it is needed, after a while without an answer of that one
  void use(std::unique_ptr<Conn> conn);
  void on_widened(Result<std::unique_ptr<Conn>> conn);
  void go_on_with_others();
  void watch_oldest();
  // A connection that worked is dialled anew at once; one that died before it spoke HTTP/2 waits its turn, and so does
  // a peer that greets and hangs up again and again.
  void reconnect(Status why);
  void back_off(Status why);
  void retry_after(Duration wait);
  void become_unwell();
  void judge(Verdict verdict, Duration took);  // 0: nobody knows
  void probe_after(Duration wait);
  void probe();
  void count_connect();
  void welcome();
  void update_usable();
  void report_retired();  // if its last connection has gone

  Env env_;
  NodeEvents& up_;
  const uint64_t number_;
  SessionOptions session_;                      // for its connections; learns how often the peer bears a PING
  std::optional<std::string> health_service_;    // none: nobody asks
  std::string_view health_authority_;
  const LoadOptions* load_options_ = nullptr;
  State state_ = State::idle;
  Status trouble_;                              // of the last attempt to connect
  Status unwell_;                               // while its record says so
  Duration backoff_ = limits::backoff_first;
  Time dialled_;                                // the last time
  Duration backoff_max_ = limits::backoff_max;
  Time reconnect_after_;                        // before, even a connection that worked waits its turn
  std::unique_ptr<Timer> retry_timer_;
  Time retried_;                                // when it is due
  std::unique_ptr<Timer> patience_timer_;       // with a dial
  uint32_t dial_turn_ = 0;                      // of the last dial: what fails before it fails for nobody
  size_t dials_open_ = 0;
  size_t url_index_ = 0;                        // of the address that was reached
  Links links_{env_.loop};
  std::unique_ptr<Widening> widening_;          // null: one connection was always enough
  std::unique_ptr<Breaker> breaker_;
  Isolation isolation_;
  std::unique_ptr<Timer> isolation_timer_;
  Time alone_until_;                            // while that is set
  uint32_t era_ = 0;                            // of isolation: what began in an earlier one says nothing of this
  Outcome outcome_;
  bool is_measured_ = false;
  bool is_newcomer_ = false;                    // it has still to come
  bool is_full_ = false;                        // the peer allows no further call at the moment
  Fn<void()> retired_;
  Anchor<Node> anchor_{*this};
};

}  // namespace nebula
