// service/link.cc - greeted, asked for its health, doubted, ended.
#include "service/link.h"

#include "base/limits.h"
#include "rpc/grpc.h"

namespace nebula {

Link::Link(const Env& env, std::unique_ptr<Conn> conn, const SessionOptions& options, LinkEvents& up)
    : env_(env), up_(up), ping_interval_(options.keepalive.interval),
      peer_(std::make_shared<const Peer>(conn->peer())) {
  session_ = h2_session(env.loop, std::move(conn), false, *this, options);
  // A process that is stopped or overwhelmed: the system accepts its connections for it.
  greeting_timer_ = env.loop.after(limits::connect_timeout, [this] {
    end(unavailable(address() + " accepted the connection, but did not speak HTTP/2 within " +
                    std::to_string(limits::connect_timeout.ms() / 1000) + " s"));
  });
  // Dialled anew, a peer may be there sooner than TCP finds out; and calls that are open may yet be answered if it was only
  // slow.
  doubt_.emplace(env.loop, *session_, [this] {
    session_->drain();
    drain(unavailable("the connection to " + address() +
                      " was silent while calls passed their deadlines, and a ping was not answered"));
  });
}

Link::~Link() {
  is_over_ = true;
  doubt_.reset();
  health_.reset();
  session_.reset();  // its calls end, and are told to the owner
}

void Link::ask_health(std::string service, std::string_view authority) {
  health_authority_ = authority;
  health_ = std::make_unique<HealthWatch>(env_, static_cast<Service&>(*this), address(), std::move(service), [this] {
    if (!is_over_) up_.on_link_health(*this);
  });
}

Time Link::idle_since() const {
  if (health_ == nullptr) return session_->idle_since();
  return session_->open_count() > health_->stream_count() ? Time::never() : Time{1};
}

// Only now it is certain that the peer speaks HTTP/2: an accepted connection alone proves nothing. And only now it is
// known how many calls it takes at a time: some servers refuse what comes beyond.
void Link::on_settings() {
  if (is_over_) return;
  greeting_timer_.reset();
  up_.on_link_spoken(*this);
}

void Link::on_large_head(size_t bytes) { grpc::warn_of_metadata(env_.log, session_->peer(), bytes); }

void Link::on_draining() { drain(unavailable(address() + " is draining")); }

void Link::drain(Status why) {
  if (!is_over_) up_.on_link_draining(*this, std::move(why));
}

void Link::end(Status why) {
  if (!std::exchange(is_over_, true)) up_.on_link_closed(*this, std::move(why));
}

void Link::call(Request request, Reply reply) {
  request.context->set_peer(peer_);
  ClientWay way{env_.loop, *session_, health_authority_, limits::message_bytes_max};
  Status status = start_client_call(way, request, reply);
  if (!status.ok()) reply(std::move(status));
}

}  // namespace nebula
