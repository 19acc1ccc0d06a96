// rpc/health.h - grpc.health.v1: is this server, or one service of it, able to answer?
#pragma once

#include <map>
#include <string>
#include <vector>

#include "rpc/router.h"

namespace nebula {

class Health final : public Service {
 public:
  enum class State : uint8_t { serving = 1, not_serving = 2, service_unknown = 3 };

  // "" is the server as a whole. Watchers hear of it.
  void set(std::string_view service, State state);

  // All is not serving from now on, and watches end once they have said so: they would hold up a drain for ever.
  void shut_down();

  Method check_method() { return {"/grpc.health.v1.Health/Check", true, this}; }
  Method watch_method() { return {"/grpc.health.v1.Health/Watch", true, this, Shape::server_stream}; }

  void call(Request request, Reply reply) override;

 private:
  class Watch;

  State state_of(std::string_view service) const;  // service_unknown: never set
  void tell_watches();

  std::map<std::string, State, std::less<>> states_{{"", State::serving}};
  std::vector<Watch*> watches_;  // each is owned by its call
  bool is_shut_down_ = false;
};

}  // namespace nebula
