// service/health_watch.cc - asked, told, broken, asked again.
#include "service/health_watch.h"

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "grpc/health/v1/health.pb-c.h"

namespace nebula {

namespace {

const Method watch_method{"/grpc.health.v1.Health/Watch", true, nullptr, Shape::server_stream};

Bytes question_for(const std::string& service) {
  Grpc__Health__V1__HealthCheckRequest question = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  question.service = const_cast<char*>(service.c_str());
  Block* block = Block::make(grpc__health__v1__health_check_request__get_packed_size(&question));
  NEBULA_ASSERT(block != nullptr);
  block->set_size(grpc__health__v1__health_check_request__pack(&question, reinterpret_cast<uint8_t*>(block->data())));
  return Bytes::adopt(block);
}

// "SERVING", or another name; a number where there is none.
std::string answer_in(const Bytes& message) {
  Grpc__Health__V1__HealthCheckResponse* answer = grpc__health__v1__health_check_response__unpack(
      nullptr, message.size(), reinterpret_cast<const uint8_t*>(message.data()));
  if (answer == nullptr) return "what is no HealthCheckResponse";
  int status = static_cast<int>(answer->status);
  grpc__health__v1__health_check_response__free_unpacked(answer, nullptr);
  constexpr const char* names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  return status >= 0 && status <= 3 ? names[status] : std::to_string(status);
}

}  // namespace

HealthWatch::HealthWatch(const Env& env, Service& peer, std::string address, std::string service, Fn<void()> changed)
    : env_(env),
      peer_(peer),
      address_(std::move(address)),
      service_(std::move(service)),
      changed_(std::move(changed)),
      backoff_(limits::backoff_first) {
  start_after({});  // this may be the depth of a session's event
}

void HealthWatch::start_after(Duration wait) {
  timer_ = env_.loop.after(wait, [this] { start(); });
}

void HealthWatch::start() {
  timer_.reset();
  was_answered_ = false;
  began_ = env_.loop.now();
  watch_ = std::make_unique<Conversation>(peer_, env_.loop, watch_method, question_for(service_),
                                          static_cast<ConversationEvents&>(*this));
}

void HealthWatch::on_message(Bytes message) {
  was_answered_ = true;
  backoff_ = limits::backoff_first;
  std::string answer = answer_in(message);
  if (answer == "SERVING") return become(State::well);
  become(State::unwell, address_ + " answers, but says " + answer +
                            (service_.empty() ? " of itself" : " of \"" + service_ + "\"") + " (grpc.health.v1)");
}

void HealthWatch::on_end(Status why) {
  watch_.reset();
  if (why.code() != Code::unimplemented) return start_again(why);
  NEBULA_LOG(env_.log, info, address_ + " does not offer grpc.health.v1: it is called without asking");
  become(State::well);
}

// One that was answered says that the peer lives. But a peer that answers and hangs up is not asked all the time.
void HealthWatch::start_again(const Status& why) {
  Duration age = env_.loop.now() - began_;
  bool at_once = was_answered_ && age >= limits::backoff_first;
  if (!at_once || state_ != State::well)
    become(State::unwell, address_ + " answers, but its watch of grpc.health.v1 has ended: " + why.text());
  else
    become(State::asking);
  if (at_once) return start_after({});
  // Jitter of a fifth, as between connections.
  start_after({env_.random.between(backoff_.ns * 4 / 5, backoff_.ns * 6 / 5)});
  backoff_ = std::min(Duration{backoff_.ns * 8 / 5}, limits::backoff_max);
}

void HealthWatch::become(State state, std::string why) {
  trouble_ = state == State::unwell ? unavailable(std::move(why)) : Status();
  if (std::exchange(state_, state) != state) changed_();
}

}  // namespace nebula
