// rpc/health.h - grpc.health.v1: is this server, or one service of it, able to answer?
#pragma once

#include <map>
#include <string>

#include "rpc/router.h"

namespace nebula {

class Health final : public Service {
 public:
  enum class State : uint8_t { serving = 1, not_serving = 2 };

  // "" is the server as a whole.
  void set(std::string_view service, State state) { states_[std::string(service)] = state; }
  void set_all(State state);

  Method check_method() { return {"/grpc.health.v1.Health/Check", true, this}; }

  void call(Request request, Reply reply) override;

 private:
  std::map<std::string, State, std::less<>> states_{{"", State::serving}};
};

}  // namespace nebula
