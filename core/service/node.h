// service/node.h - one endpoint of a channel: dialled, connected, lost, dialled again.
//
// A node outlives its connections, so that backing off is remembered. Lives on one loop, owned by a Channel.
#pragma once

#include <memory>
#include <string>

#include "base/driver.h"
#include "base/limits.h"
#include "loop/anchor.h"
#include "http2/stream.h"
#include "loop/loop.h"
#include "rpc/client_call.h"
#include "service/balancer/balancer.h"

namespace nebula {

class Node;

// What a node tells its channel.
struct NodeEvents {
  virtual void on_node_changed() = 0;  // usable, or failed, or room again: look whether waiting calls can go

 protected:
  ~NodeEvents() = default;
};

class Node final : public NodeState {
 public:
  Node(const Env& env, Endpoint endpoint, NodeEvents& up, const SessionOptions& session = {});
  ~Node();  // cuts the connection; calls on it fail

  void connect();  // unless it is connected, or about to be

  // Puts the call on the connection. Not ok: it cannot take one now, and request, reply and again are as they were.
  Status call(std::string_view authority, size_t message_bytes_max, Request& request, Reply& reply,
              Again* again = nullptr);

  // Takes no more calls; answers when the last one has ended. For an endpoint that has left the registry.
  void retire(Fn<void()> then);

  // A call may wait for it: connected (though perhaps full), or on the way there for the first time or again.
  bool is_promising() const { return state_ == State::connecting || state_ == State::connected; }
  Time idle_since() const;                    // never(): a call runs; the beginning of time: it has no connection
  const Status& trouble() const { return trouble_; }  // why the last attempt failed; ok if there is none

 private:
  enum class State : uint8_t { idle, connecting, connected, waiting };
  class Link;

  void dial(size_t url_index, std::string failures);
  void use(std::unique_ptr<Conn> conn);
  // A connection that worked is dialled anew at once; one that died before it spoke HTTP/2 waits its turn, and so does
  // a peer that greets and hangs up again and again.
  void reconnect(Status why);
  void back_off(Status why);
  void on_link_silent(Link* link);
  void on_link_draining(Link* link);
  void on_link_closed(Link* link, const Status& why);
  void drop(Link* link);
  void update_usable();
  void report_retired();  // if its last connection has gone

  Env env_;
  NodeEvents& up_;
  SessionOptions session_;                      // for its connections; learns how often the peer bears a PING
  State state_ = State::idle;
  Status trouble_;
  Duration backoff_ = limits::backoff_first;
  Time reconnect_after_;                        // before, even a connection that worked waits its turn
  std::unique_ptr<Timer> retry_timer_;
  std::unique_ptr<Link> link_;                  // the connection for new calls
  std::vector<std::unique_ptr<Link>> leaving_;  // told to go away (GOAWAY), finishing their calls
  bool is_full_ = false;                        // the peer allows no further call at the moment
  Fn<void()> retired_;
  Anchor<Node> anchor_{*this};
};

}  // namespace nebula
