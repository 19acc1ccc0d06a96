// service/announced_server.cc - found by name, gone in order.
#include "service/announced_server.h"

#include <cstdio>

#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "base/tally.h"
#include "service/self.h"

namespace nebula {

namespace {

constexpr uint32_t port_first = 20'000;
constexpr uint32_t port_count = 10'000;

std::string new_instance_id(Random& random) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", static_cast<uint32_t>(random.next()));
  return text;
}

}  // namespace

AnnouncedServer::AnnouncedServer(const Env& env, Registry* registry, const Router& router, ServerLimits limits)
    : loop_(env.loop),
      log_(env.log),
      registry_(registry),
      id_(new_instance_id(env.random)),
      server_(env.loop, env.network, env.log, router, limits) {}

Status AnnouncedServer::listen_default(std::string_view name) {
  if (registry_ != nullptr) {
    TRY(std::optional<Url> local, registry_->local_address(id_));
    if (local) {
      if (Status status = server_.listen(*local); !status.ok()) return status;
    }
  }
  uint32_t wanted = static_cast<uint32_t>(hash64(name) % port_count);
  Status status;
  for (uint32_t tries = 0; tries < port_count; tries++) {
    Url at;
    at.scheme = "tcp";
    at.host = "127.0.0.1";
    at.port = static_cast<uint16_t>(port_first + (wanted + tries) % port_count);
    status = server_.listen(at);
    if (status.code() != Code::already_exists) return status;
  }
  return status.with_context("every port from 20000 to 29999 is taken");
}

void AnnouncedServer::announce(const std::vector<std::string>& names, Done<bool> done) {
  if (names.empty()) return done(true);
  NEBULA_ASSERT(registry_ != nullptr);
  Endpoint self{id_, server_.urls()};
  if (Status status = describe_self(&self); !status.ok()) return done(std::move(status));
  std::shared_ptr<Tally> tally = std::make_shared<Tally>(Tally{names.size(), {}, std::move(done)});
  for (const std::string& name : names) {
    const Descriptions::Document* document = descriptions_ != nullptr ? descriptions_->find(name) : nullptr;
    self.description = document != nullptr ? document->digest : 0;
    registry_->announce(name, self,
                        [self = anchor_.ref(), tally, name](Result<std::unique_ptr<Lease>> lease) {
                          AnnouncedServer* server = self.get();
                          if (lease.ok() && server != nullptr) {
                            server->announced_.push_back({name, std::move(*lease)});
                            server->tell_health(server->announced_.back());
                          }
                          tally->count(lease.ok() ? Status() : lease.status().with_context("announce \"" + name + "\""));
                        });
  }
}

void AnnouncedServer::set_health(std::string_view name, bool serves) {
  if (serves)
    unwell_.erase(std::string(name));
  else
    unwell_.emplace(name);
  for (Announced& each : announced_) tell_health(each);
}

void AnnouncedServer::tell_health(Announced& announced) {
  bool is_unwell = unwell_.contains("") || unwell_.contains(announced.name);
  if (std::exchange(announced.is_unwell, is_unwell) == is_unwell) return;
  announced.lease->mark(is_unwell ? Mark::unwell : Mark::well,
                        [self = anchor_.ref(), name = announced.name](Result<bool> marked) {
                          if (AnnouncedServer* server = self.get(); server != nullptr && !marked.ok())
                            NEBULA_LOG(server->log_, info,
                                       "\"" + name + "\": not every caller knows of its health: " + marked.status().text());
                        });
}

// First the mark: a connection that is told to go before callers know of it would be dialled again at once.
void AnnouncedServer::step_down(Duration wait, Fn<void(Duration left)> then) {
  if (std::exchange(has_stepped_down_, true) || announced_.empty()) return then(wait);
  Time until = loop_.now() + wait;
  stepped_down_ = std::move(then);
  step_timer_ = loop_.after(std::min(wait, limits::drain_mark_wait), [this, until] { go_on(until); });
  std::shared_ptr<Tally> tally(new Tally{announced_.size(), {}, [self = anchor_.ref(), until](Result<bool> marked) {
    AnnouncedServer* server = self.get();
    if (server == nullptr) return;
    if (!marked.ok()) NEBULA_LOG(server->log_, info, "drains, but not every caller knows: " + marked.status().text());
    // In a later step: it may come at once.
    server->loop_.later([self, until] {
      if (self.get() != nullptr) self.get()->go_on(until);
    });
  }});
  for (const Announced& each : announced_)
    each.lease->drain([tally](Result<bool> marked) { tally->count(marked.status()); });
}

void AnnouncedServer::go_on(Time until) {
  step_timer_.reset();
  if (!stepped_down_) return;
  Fn<void(Duration)> then = std::move(stepped_down_);
  then(std::max(until - loop_.now(), Duration{}));
}

void AnnouncedServer::drain(Duration wait, Fn<void()> then) {
  step_down(wait, [this, then = std::move(then)](Duration left) mutable {
    server_.drain(left, [this, then = std::move(then)]() mutable {
      announced_.clear();
      then();
    });
  });
}

}  // namespace nebula
