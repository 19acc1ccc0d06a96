// service/health_watch.h - what the peer of one connection says of itself, by grpc.health.v1 (gRFC A17).
//
// A Watch call for as long as the connection takes calls. A peer that does not offer it counts as well; a watch that
// breaks is made again, at once if it had lived for a while, and in growing pauses else. Owned by a connection of a
// node, on its loop.
#pragma once

#include <memory>
#include <string>

#include "base/driver.h"
#include "rpc/client.h"

namespace nebula {

class HealthWatch final : private ConversationEvents {
 public:
  // asking: nothing is known yet. A watch that is made again after it was well asks too; one that was not stays unwell.
  enum class State : uint8_t { asking, well, unwell };

  // `peer` takes the calls, and outlives it; `service` is what is asked for, "" is the server as a whole. `changed` must
  // not destroy it.
  HealthWatch(const Env& env, Service& peer, std::string address, std::string service, Fn<void()> changed);

  State state() const { return state_; }
  const Status& trouble() const { return trouble_; }  // why it is unwell
  size_t stream_count() const { return watch_ != nullptr ? 1 : 0; }  // its own, on the connection

 private:
  void on_message(Bytes message) override;
  void on_end(Status why) override;
  void start();
  void start_after(Duration wait);
  void start_again(const Status& why);
  void become(State state, std::string why = {});

  Env env_;
  Service& peer_;
  const std::string address_, service_;
  Fn<void()> changed_;
  State state_ = State::asking;
  Status trouble_;
  bool was_answered_ = false;        // this watch
  Time began_;                       // this watch
  Duration backoff_;
  std::unique_ptr<Timer> timer_;     // set between two watches
  std::unique_ptr<Conversation> watch_;
};

}  // namespace nebula
