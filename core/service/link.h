// service/link.h - one connection of a node, from dialled to closed.
//
// Owned by the node, on its loop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/driver.h"
#include "http2/stream.h"
#include "rpc/client_call.h"
#include "rpc/service.h"
#include "service/doubt.h"
#include "service/health_watch.h"

namespace nebula {

class Link;

// What a node hears of its connections, beside what it hears of the calls on them. It does not destroy one within.
struct LinkEvents : CallEvents {
  virtual void on_link_spoken(Link& link) = 0;              // HTTP/2: it can be used
  virtual void on_link_room(Link& link) = 0;                // for a call, after it had none
  virtual void on_link_health(Link& link) = 0;
  virtual void on_link_draining(Link& link, Status why) = 0;  // it takes no more calls, and ends with its last one
  virtual void on_link_closed(Link& link, Status why) = 0;  // the last event but for the ends of calls

 protected:
  ~LinkEvents() = default;
};

class Link final : private SessionEvents, private Service {
 public:
  // `up` outlives it.
  Link(const Env& env, std::unique_ptr<Conn> conn, const SessionOptions& options, LinkEvents& up);
  ~Link() override;  // cuts the connection; calls on it fail

  // As start_client_call. Not ok: it takes none now.
  Status start(std::string_view authority, size_t message_bytes_max, Request& request, Reply& reply, Again* again) {
    request.context->set_peer(peer_);
    ClientWay way{env_.loop, *session_, authority, message_bytes_max, &head_memo_, &up_};
    return start_client_call(way, request, reply, again);
  }

  // Asks the peer whether the service is well. The authority outlives the link.
  void ask_health(std::string service, std::string_view authority);
  void end_health() { health_.reset(); }                // or its call would hold up the end of the session
  const HealthWatch* health() const { return health_.get(); }  // null: it is not asked

  Session& session() { return *session_; }
  const std::string& address() const { return peer_->address; }
  Duration ping_interval() const { return ping_interval_; }
  bool has_spoken() const { return greeting_timer_ == nullptr; }
  bool is_ready() const { return has_spoken() && (health_ == nullptr || health_->state() == HealthWatch::State::well); }
  Time idle_since() const;  // never(): a call runs
  // A call that began then has ended, and not by the peer's word. It may have been on another connection.
  void on_call_lost(Time began) { doubt_->on_call_lost(began); }
  // Why it took no call the last time, as its owner has noted; ok: there is room again.
  Code refusal() const { return refusal_; }
  void refuse(Code why) { refusal_ = why; }

 private:
  // SessionEvents
  StreamEvents& on_stream(std::unique_ptr<Stream>) override { NEBULA_ASSERT(!"a client has no streams of its peer's"); }
  void on_settings() override;
  void on_room() override {
    refusal_ = Code::ok;
    up_.on_link_room(*this);
  }
  void on_large_head(size_t bytes) override;
  void on_draining() override;
  void on_closed(Status why) override { end(std::move(why)); }

  void call(Request request, Reply reply) override;  // of its watch of the peer's health

  void drain(Status why);
  void end(Status why);

  const Env env_;
  LinkEvents& up_;
  const Duration ping_interval_;
  std::shared_ptr<const Peer> peer_;       // of its calls' contexts
  HeadMemo head_memo_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Timer> greeting_timer_;  // until the peer has spoken HTTP/2
  std::string_view health_authority_;
  std::unique_ptr<HealthWatch> health_;
  std::optional<Doubt> doubt_;
  Code refusal_ = Code::ok;
  bool is_over_ = false;                   // the owner knows
};

}  // namespace nebula
