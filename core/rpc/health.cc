// rpc/health.cc - Check answers at once, Watch whenever the answer changes.
#include "rpc/health.h"

#include <algorithm>

#include "grpc/health/v1/health.pb-c.h"

namespace nebula {

namespace {

#define SAME(ours, theirs) \
  static_assert(static_cast<int>(Health::State::ours) == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##theirs)
SAME(serving, SERVING);
SAME(not_serving, NOT_SERVING);
SAME(service_unknown, SERVICE_UNKNOWN);
#undef SAME

Result<std::string> service_asked_for(const Bytes& message) {
  Grpc__Health__V1__HealthCheckRequest* question = grpc__health__v1__health_check_request__unpack(
      nullptr, message.size(), reinterpret_cast<const uint8_t*>(message.data()));
  if (question == nullptr) return internal("the request is no HealthCheckRequest");
  std::string service = question->service;
  grpc__health__v1__health_check_request__free_unpacked(question, nullptr);
  return service;
}

Bytes message_of(Health::State state) {
  Grpc__Health__V1__HealthCheckResponse answer = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  answer.status = static_cast<Grpc__Health__V1__HealthCheckResponse__ServingStatus>(state);
  Block* block = Block::make(grpc__health__v1__health_check_response__get_packed_size(&answer));
  NEBULA_ASSERT(block != nullptr);
  block->set_size(grpc__health__v1__health_check_response__pack(&answer, reinterpret_cast<uint8_t*>(block->data())));
  return Bytes::adopt(block);
}

}  // namespace

// The state of one service, again and again. What a slow reader has missed it does not hear.
class Health::Watch final : public Source {
 public:
  Watch(Health& health, std::string service) : health_(health), service_(std::move(service)) {
    health_.watches_.push_back(this);
  }
  ~Watch() override { std::erase(health_.watches_, this); }

  void tell() { ready(); }
  Ending& ending() override { return ending_; }

 private:
  Next take(Bytes* message) override {
    State now = health_.state_of(service_);
    if (now != told_) {
      told_ = now;
      *message = message_of(now);
      return Next::message;
    }
    if (!health_.is_shut_down_) return Next::later;
    ending_.status = unavailable("the server is draining");
    return Next::end;
  }

  Health& health_;
  const std::string service_;
  std::optional<State> told_;
  Ending ending_;
};

void Health::set(std::string_view service, State state) {
  states_[std::string(service)] = state;
  tell_watches();
}

void Health::shut_down() {
  for (auto& [service, current] : states_) current = State::not_serving;
  is_shut_down_ = true;
  tell_watches();
}

Health::State Health::state_of(std::string_view service) const {
  auto found = states_.find(service);
  return found == states_.end() ? State::service_unknown : found->second;
}

void Health::tell_watches() {
  // A watch may go when it is told, and others with it.
  std::vector<Watch*> all = watches_;
  for (Watch* watch : all)
    if (std::find(watches_.begin(), watches_.end(), watch) != watches_.end()) watch->tell();
}

void Health::call(Request request, Reply reply) {
  if (request.codec == Codec::json) return reply(unimplemented("grpc.health.v1 speaks protobuf, not JSON"));
  Result<std::string> service = service_asked_for(std::get<Bytes>(request.body));
  if (!service.ok()) return reply(service.status());
  Response response;
  if (request.method->shape == Shape::server_stream) {
    response.body = std::make_unique<Watch>(*this, std::move(*service));
  } else {
    State state = state_of(*service);
    if (state == State::service_unknown) return reply(Status(Code::not_found, "unknown service \"" + *service + "\""));
    response.body = message_of(state);
  }
  reply(std::move(response));
}

}  // namespace nebula
