// unit/rpc/health_test.cc - grpc.health.v1 by its bytes.
#include "rpc/health.h"

#include <criterion/criterion.h>

#include <optional>

using namespace nebula;

namespace {

// A HealthCheckRequest: field 1, the service.
std::string question(std::string_view service) {
  if (service.empty()) return {};
  std::string text = {'\x0a', static_cast<char>(service.size())};
  return text.append(service);
}

Result<Response> ask(Health& health, std::string_view message, Codec codec = Codec::proto) {
  Method method = health.check_method();
  Context context(Time::never(), {});
  std::optional<Result<Response>> answer;
  health.call({&method, &context, {}, Bytes::copy(message), codec},
              [&](Result<Response> result) { answer = std::move(result); });
  cr_assert(answer.has_value(), "health answers at once");
  return std::move(*answer);
}

// A HealthCheckResponse: field 1, the state.
std::string state_of(Health& health, std::string_view service) {
  Result<Response> answer = ask(health, question(service));
  if (!answer.ok()) return answer.status().text();
  return std::string(std::get<Bytes>(answer->body).view());
}

const std::string serving = "\x08\x01", not_serving = "\x08\x02", unknown = "\x08\x03";

// A watch, and all that it has said since it was asked last.
struct Watcher {
  Watcher(Health& health, std::string_view service) {
    Method method = health.watch_method();
    Context context(Time::never(), {});
    health.call({&method, &context, {}, Bytes::copy(question(service))}, [this](Result<Response> result) {
      cr_assert(result.ok());
      source = std::move(std::get<std::unique_ptr<Source>>(result->body));
    });
    source->on_ready([this] { wakes++; });
  }

  std::string said() {
    std::string all;
    Bytes message;
    Source::Next next;
    while ((next = source->next(&message)) == Source::Next::message) all.append(message.view());
    has_ended = next == Source::Next::end;
    return all;
  }

  std::unique_ptr<Source> source;
  int wakes = 0;
  bool has_ended = false;
};

}  // namespace

Test(health, says_that_the_server_serves_from_the_start) {
  Health health;
  cr_assert(state_of(health, "") == serving);
}

Test(health, tells_each_service_by_itself) {
  Health health;
  health.set("hello", Health::State::serving);
  health.set("clock", Health::State::not_serving);
  cr_assert(state_of(health, "hello") == serving);
  cr_assert(state_of(health, "clock") == not_serving);
  health.set("clock", Health::State::serving);
  cr_assert(state_of(health, "clock") == serving);
}

Test(health, does_not_know_a_service_that_was_not_set) {
  Health health;
  cr_assert(state_of(health, "helo") == "NOT_FOUND: unknown service \"helo\"");
}

Test(health, can_take_all_back_at_once) {
  Health health;
  health.set("hello", Health::State::serving);
  health.shut_down();
  cr_assert(state_of(health, "") == not_serving);
  cr_assert(state_of(health, "hello") == not_serving);
}

Test(health, refuses_what_is_no_question) {
  Health health;
  cr_assert_eq(ask(health, "\x0a\x05hel").status().code(), Code::internal);
  Status status = ask(health, "{}", Codec::json).status();
  cr_assert(status.text() == "UNIMPLEMENTED: grpc.health.v1 speaks protobuf, not JSON");
}

Test(health, is_found_under_the_path_of_the_specification) {
  cr_assert(Health().check_method().path == "/grpc.health.v1.Health/Check");
}

Test(health, tells_watchers_of_every_change_and_only_of_changes) {
  Health health;
  health.set("hello", Health::State::serving);
  Watcher hello(health, "hello"), all(health, "");
  cr_assert(hello.said() == serving && all.said() == serving);
  health.set("hello", Health::State::not_serving);
  health.set("clock", Health::State::not_serving);
  cr_assert(hello.wakes == 1 && hello.said() == not_serving);
  cr_assert(all.said() == "" && !all.has_ended);
}

Test(health, has_a_word_for_watchers_of_what_is_not_there_yet) {
  Health health;
  Watcher watcher(health, "late");
  cr_assert(watcher.said() == unknown);
  health.set("late", Health::State::serving);
  cr_assert(watcher.said() == serving);
}

Test(health, ends_its_watches_when_the_server_shuts_down) {
  Health health;
  Watcher watcher(health, ""), slow(health, "");
  cr_assert(watcher.said() == serving);
  health.shut_down();
  cr_assert(watcher.said() == not_serving && watcher.has_ended);
  cr_assert(watcher.source->ending().status.text() == "UNAVAILABLE: the server is draining");
  cr_assert(slow.said() == not_serving && slow.has_ended, "it hears the last state alone");
}

Test(health, forgets_a_watcher_that_left) {
  Health health;
  std::optional<Watcher> first(std::in_place, health, ""), second(std::in_place, health, "");
  cr_assert(first->said() == serving && second->said() == serving);
  // One goes while both are being told.
  first->source->on_ready([&] { second.reset(); });
  health.set("", Health::State::not_serving);
  first.reset();
  health.set("", Health::State::serving);
}
