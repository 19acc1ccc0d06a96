// rpc/health.cc - Check; Watch comes with streaming.
#include "rpc/health.h"

#include "grpc/health/v1/health.pb-c.h"

namespace nebula {

static_assert(static_cast<int>(Health::State::serving) ==
              GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
static_assert(static_cast<int>(Health::State::not_serving) ==
              GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);

void Health::set_all(State state) {
  for (auto& [service, current] : states_) current = state;
}

void Health::call(Request request, Reply reply) {
  if (request.codec == Codec::json) return reply(unimplemented("grpc.health.v1 speaks protobuf, not JSON"));
  const Bytes& message = std::get<Bytes>(request.body);
  Grpc__Health__V1__HealthCheckRequest* question = grpc__health__v1__health_check_request__unpack(
      nullptr, message.size(), reinterpret_cast<const uint8_t*>(message.data()));
  if (question == nullptr) return reply(internal("the request is no HealthCheckRequest"));
  std::string service = question->service;
  grpc__health__v1__health_check_request__free_unpacked(question, nullptr);
  auto found = states_.find(service);
  if (found == states_.end()) return reply(Status(Code::not_found, "unknown service \"" + service + "\""));

  Grpc__Health__V1__HealthCheckResponse answer = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  answer.status = static_cast<Grpc__Health__V1__HealthCheckResponse__ServingStatus>(found->second);
  Block* block = Block::make(grpc__health__v1__health_check_response__get_packed_size(&answer));
  NEBULA_ASSERT(block != nullptr);
  block->set_size(grpc__health__v1__health_check_response__pack(&answer, reinterpret_cast<uint8_t*>(block->data())));
  Response response;
  response.body = Bytes::adopt(block);
  reply(std::move(response));
}

}  // namespace nebula
