// unit/service/checks_test.cc - which requests are sent, by what their service says of itself, and how often it is asked.
#include "service/checks.h"

#include <criterion/criterion.h>

#include <string>

#include "kit/cluster.h"
#include "rpc/description.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// /hello/greet and /hello/hold, which take an object of these fields, all of them strings.
std::string document_of(const std::vector<std::string>& fields) {
  std::string properties;
  for (const std::string& each : fields)
    properties.append(properties.empty() ? "" : ",").append("\"" + each + "\":{\"type\":\"string\"}");
  std::string request = R"({"type":"object","additionalProperties":false,"properties":{)" + properties + "}}";
  return R"({"service":"hello","methods":[{"name":"greet","request":)" + request + R"(},{"name":"hold","request":)" +
         request + "}]}";
}

// An instance that describes itself, and counts who asks.
struct Described {
  Described(Cluster& cluster, const std::vector<std::string>& fields, const std::string& id = "a")
      : instance(std::make_unique<Instance>(cluster, "hello", id)) {
    describe(fields);
    cr_assert(instance->router.add({"/nebula.v1.Description/Get", true, &counted}).ok());
    instance->announce();
    cluster.settle();
  }

  void describe(const std::vector<std::string>& fields) {
    descriptions = {};
    cr_assert(descriptions.add("hello", document_of(fields)).ok());
    Router served;
    for (const char* path : {"/hello/greet", "/hello/hold"}) cr_assert(served.add(Method{path}).ok());
    cr_assert(descriptions.complete(served, {}).ok());
  }

  std::unique_ptr<Instance> instance;
  Descriptions descriptions;
  Description description{descriptions};
  Handler counted{[this](Request request, Reply reply) { description.call(std::move(request), std::move(reply)); }};
};

struct JsonCall : Call {
  explicit JsonCall(std::string_view body, std::string_view path = "/hello/greet", Time deadline = Time::never())
      : Call(path, body, deadline) {
    codec = Codec::json;
  }
};

void start(Cluster& cluster, Channel& channel, Call& call) {
  Request request = call.request();
  request.check = true;
  channel.call(std::move(request), call.reply());
  cluster.settle();
}

std::string run(Cluster& cluster, Channel& channel, std::string_view body, std::string_view path = "/hello/greet") {
  JsonCall call(body, path);
  start(cluster, channel, call);
  if (call.code() == Code::invalid_argument || call.code() == Code::unimplemented)
    cr_assert(call.ending()->fate == Fate::unsent);
  return call.end();
}

void expect(const std::string& said, const std::string& wanted) {
  cr_assert(said == wanted, "said   %s\nwanted %s", said.c_str(), wanted.c_str());
}

}  // namespace

Test(checks, ask_once_and_send_what_is_right) {
  Cluster cluster;
  Described hello(cluster, {"name"});
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  for (int i = 0; i < 3; i++) expect(run(cluster, *channel, R"({"name":"Ada"})"), "OK");
  cr_assert_eq(hello.counted.calls, 1);
  cr_assert_eq(hello.instance->greet.calls, 3);
}

Test(checks, refuse_what_is_wrong_before_it_is_sent) {
  Cluster cluster;
  Described hello(cluster, {"name"});
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  expect(run(cluster, *channel, R"({"nme":"Ada"})"),
         R"(INVALID_ARGUMENT: hello.greet has no field "nme" (fields: name); did you mean "name"?)");
  expect(run(cluster, *channel, "{}", "/hello/gret"),
         R"(UNIMPLEMENTED: hello has no method "gret" (methods: greet, hold); did you mean "greet"?)");
  cr_assert_eq(hello.instance->greet.calls, 0);
}

Test(checks, believe_no_description_that_the_service_has_changed_since) {
  Cluster cluster;
  Described hello(cluster, {"name"});
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  expect(run(cluster, *channel, R"({"name":"Ada"})"), "OK");
  hello.describe({"name", "age"});
  expect(run(cluster, *channel, R"({"age":"7"})"), "OK");
  cr_assert_eq(hello.counted.calls, 2);
  expect(run(cluster, *channel, R"({"zip":"7"})"),
         R"(INVALID_ARGUMENT: hello.greet has no field "zip" (fields: name, age))");
  cr_assert_eq(hello.counted.calls, 3, "it was asked again, and had nothing new to say");
}

Test(checks, leave_alone_what_is_not_described_until_there_is_another_instance) {
  Cluster cluster;
  std::unique_ptr<Instance> plain = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  for (int i = 0; i < 2; i++) expect(run(cluster, *channel, R"({"nme":"Ada"})"), "OK");
  cr_assert_eq(plain->greet.calls, 2);
  plain->withdraw();
  cluster.settle();
  Described hello(cluster, {"name"}, "b");
  cluster.settle();
  cr_assert(run(cluster, *channel, R"({"nme":"Ada"})").starts_with("INVALID_ARGUMENT"));
}

Test(checks, do_not_stand_in_the_way_of_what_is_wrong_with_the_service) {
  Cluster cluster;
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  expect(run(cluster, *channel, "{}"), R"(UNAVAILABLE: no instance of "hello" is announced)");
}

Test(checks, do_not_judge_by_what_they_knew_when_nobody_can_be_asked) {
  Cluster cluster;
  Described hello(cluster, {"name"});
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  cr_assert(run(cluster, *channel, R"({"nme":"Ada"})").starts_with("INVALID_ARGUMENT"));
  hello.instance->kill();
  cluster.settle();
  cr_assert(run(cluster, *channel, R"({"nme":"Ada"})").starts_with("UNAVAILABLE"));
}

Test(checks, wait_for_an_instance_with_those_who_do) {
  Cluster cluster;
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  JsonCall call(R"({"nme":"Ada"})");
  call.wait_for_ready = true;
  start(cluster, *channel, call);
  expect(call.end(), "open");
  cr_assert(run(cluster, *channel, "{}").starts_with("UNAVAILABLE"), "who does not wait is not held up by who does");
  Described hello(cluster, {"name"});
  cluster.settle();
  cr_assert(call.end().starts_with("INVALID_ARGUMENT"), "%s", call.end().c_str());
}

Test(checks, ask_again_when_nobody_was_there_to_be_asked) {
  Cluster cluster;
  Described hello(cluster, {"name"});
  hello.instance->server.reset();  // announced, but it does not listen
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  JsonCall patient(R"({"nme":"Ada"})", "/hello/greet", cluster.world.loop.now() + limits::description_timeout + sec(1));
  patient.wait_for_ready = true;
  start(cluster, *channel, patient);
  cluster.world.loop.run_for(limits::description_timeout + sec(2));
  cr_assert(patient.end().starts_with("DEADLINE_EXCEEDED"), "%s", patient.end().c_str());
  hello.instance->server =
      std::make_unique<Server>(cluster.world.loop, cluster.world.network, cluster.world.log, hello.instance->router);
  cr_assert(hello.instance->server->listen(url("mem:a")).ok());
  cluster.world.loop.run_for(sec(30));
  cr_assert(run(cluster, *channel, R"({"nme":"Ada"})").starts_with("INVALID_ARGUMENT"));
}

Test(checks, do_not_wait_for_ever) {
  Cluster cluster;
  std::unique_ptr<Instance> instance = cluster.serve("hello", "a");
  Holder silent;
  cr_assert(instance->router.add({"/nebula.v1.Description/Get", true, &silent}).ok());
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  JsonCall patient("{}"), hurried("{}", "/hello/greet", cluster.world.loop.now() + ms(100)), cancelled("{}");
  for (Call* call : {static_cast<Call*>(&patient), static_cast<Call*>(&hurried), static_cast<Call*>(&cancelled)})
    start(cluster, *channel, *call);
  cr_assert_eq(silent.count(), 1u);
  cancelled.context.cancel(nebula::cancelled("no longer wanted"));
  expect(cancelled.end(), R"(CANCELLED: no longer wanted while the call waited for the description of "hello")");
  cluster.world.loop.run_for(ms(200));
  cr_assert(hurried.end().starts_with("DEADLINE_EXCEEDED"), "%s", hurried.end().c_str());
  expect(patient.end(), "open");
  cluster.world.loop.run_for(limits::description_timeout);
  expect(patient.end(), "OK");  // unchecked
  expect(run(cluster, *channel, "{}"), "OK");
  cr_assert_eq(silent.count(), 1u, "it is not asked again");
}

Test(checks, end_with_their_channel) {
  Cluster cluster;
  std::unique_ptr<Instance> instance = cluster.serve("hello", "a");
  Holder silent;
  cr_assert(instance->router.add({"/nebula.v1.Description/Get", true, &silent}).ok());
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  JsonCall call("{}"), other("{}");
  start(cluster, *channel, call);
  start(cluster, *channel, other);
  call.then = [&] { other.context.cancel(nebula::cancelled("too")); };
  channel.reset();
  cluster.settle();
  expect(call.end(), R"(UNAVAILABLE: the channel to "hello" was closed)");
  cr_assert_neq(other.end(), "open");
}

Test(checks, forget_a_description_that_is_none) {
  Cluster cluster;
  std::unique_ptr<Instance> instance = cluster.serve("hello", "a");
  Handler nonsense(echo());  // whose answer is no GetResponse with a document
  cr_assert(instance->router.add({"/nebula.v1.Description/Get", true, &nonsense}).ok());
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  for (int i = 0; i < 2; i++) expect(run(cluster, *channel, "{}"), "OK");
  cr_assert_eq(nonsense.calls, 1);
}
