// unit/service/channel_test.cc - a name that behaves like one peer, whatever becomes of its instances.
#include "service/channel.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include <map>
#include <string>
#include <vector>

#include "kit/cluster.h"
#include "kit/dials.h"
#include "kit/raw_http2.h"
#include "rpc/nested_retries.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Calls = std::vector<std::unique_ptr<Call>>;

// A registry that says what the test wants, when it wants.
struct ToldRegistry final : public Registry {
  struct Told final : public Watch {
    explicit Told(ToldRegistry& registry) : registry(registry) {}
    ~Told() override {
      if (registry.current == this) registry.current = nullptr;
    }
    ToldRegistry& registry;
    Fn<void(Snapshot)> on_change;
  };

  std::unique_ptr<Watch> watch(std::string_view, Fn<void(Snapshot)> on_change) override {
    std::unique_ptr<Told> told = std::make_unique<Told>(*this);
    told->on_change = std::move(on_change);
    current = told.get();
    watches++;
    return told;
  }
  void announce(std::string_view, Endpoint, Done<std::unique_ptr<Lease>>) override {}

  void tell(EndpointList endpoints, Status trouble = {}) {
    cr_assert(current != nullptr, "nobody watches");
    Snapshot snapshot;
    snapshot.endpoints = std::make_shared<EndpointList>(std::move(endpoints));
    snapshot.trouble = std::move(trouble);
    current->on_change(std::move(snapshot));
  }

  Told* current = nullptr;
  int watches = 0;
};

// Calls to /hello/greet until each of them has ended, which must be well.
void call_all(Cluster& cluster, Channel& channel, int count) {
  for (int i = 0; i < count; i++) {
    Call call;
    std::string end = cluster.run(channel, call);
    cr_assert(end == "OK", "%s", end.c_str());
  }
}

// Of so many calls on each of the connections of one client, the next one waits.
constexpr size_t streams_max = 100, calls_max = streams_max * limits::links_max;

std::unique_ptr<Instance> serve_few(Cluster& cluster) {
  ServerLimits limits;
  limits.session.streams_max = streams_max;
  std::unique_ptr<Instance> hello = std::make_unique<Instance>(cluster, "hello", "a", limits);
  hello->announce();
  cluster.settle();
  return hello;
}

std::string refused(std::string_view id) {
  return "dial mem:" + std::string(id) + ": nobody listens at mem:" + std::string(id);
}

}  // namespace

// ---- finding

Test(channel, does_nothing_before_the_first_call) {
  Cluster cluster;
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  cluster.settle();
  cr_assert_eq(registry.watches, 0);
}

Test(channel, finds_and_connects_with_the_first_call) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call call("/hello/greet", "who");
  cr_assert(cluster.run(*channel, call) == "OK");
  cr_assert(call.body() == "who");
  cr_assert(call.context.peer().address == "mem:a");
  cr_assert_eq(hello->server->session_count(), 1);
  call_all(cluster, *channel, 10);
  cr_assert_eq(hello->server->session_count(), 1, "one connection serves all");
}

Test(channel, sends_the_first_calls_together) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Calls calls;
  for (int i = 0; i < 50; i++) {
    calls.push_back(std::make_unique<Call>());
    cluster.start(*channel, *calls.back());
    cr_assert_eq(calls.back()->answers, 0);
  }
  cluster.settle();
  for (const auto& call : calls) cr_assert(call->end() == "OK");
  cr_assert_eq(hello->server->session_count(), 1);
}

Test(channel, finds_an_instance_that_was_announced_a_moment_before) {
  Cluster cluster(1, ms(5));
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call early;
  cluster.start(*channel, early);
  cluster.world.loop.run_for(ms(20));
  cr_assert_eq(early.code(), Code::unavailable);

  Instance hello(cluster, "hello", "a");
  hello.announce();
  Call call;
  cluster.start(*channel, call);
  cluster.world.loop.run_for(ms(20));
  cr_assert(call.end() == "OK", "%s", call.end().c_str());
}

Test(channel, looks_again_only_once_for_many_calls) {
  Cluster cluster;
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Calls calls;
  for (int i = 0; i < 10; i++) {
    calls.push_back(std::make_unique<Call>());
    cluster.start(*channel, *calls.back());
  }
  cr_assert_eq(registry.watches, 1);
  registry.tell({});
  cluster.settle();
  for (const auto& call : calls) cr_assert_eq(call->code(), Code::unavailable);
  Call next;
  cluster.start(*channel, next);
  cr_assert_eq(registry.watches, 2);
}

Test(channel, survives_a_look_inside_the_answer_to_a_look) {
  Cluster cluster;
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call first, second;
  first.then = [&] { cluster.start(*channel, second); };
  cluster.run(*channel, first);
  cr_assert_eq(first.code(), Code::unavailable);
  cr_assert_eq(second.code(), Code::unavailable);
}

// ---- failing fast, with the reason

Test(channel, says_that_nobody_announces_a_name_and_what_is_similar) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("helo");
  std::string end = cluster.run(*channel, "/helo/greet");
  cr_assert(end == "UNAVAILABLE: no instance of \"helo\" is announced; did you mean \"hello\"?", "%s", end.c_str());

  std::unique_ptr<Instance> help = cluster.serve("help", "b");
  end = cluster.run(*channel, "/helo/greet");
  cr_assert(end == "UNAVAILABLE: no instance of \"helo\" is announced; did you mean \"hello\" or \"help\"?" ||
                end == "UNAVAILABLE: no instance of \"helo\" is announced; did you mean \"help\" or \"hello\"?",
            "%s", end.c_str());

  channel = cluster.channel("entirely.else");
  end = cluster.run(*channel, "/entirely.else/x");
  cr_assert(end == "UNAVAILABLE: no instance of \"entirely.else\" is announced", "%s", end.c_str());
}

Test(channel, says_why_an_announced_instance_cannot_be_reached) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  hello->server.reset();
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  std::string end = cluster.run(*channel);
  cr_assert(end == "UNAVAILABLE: \"hello\" has 1 instance, but it cannot be reached: " + refused("a"), "%s",
            end.c_str());
  end = cluster.run(*channel);
  cr_assert(end == "UNAVAILABLE: \"hello\" has 1 instance, but it cannot be reached: " + refused("a"),
            "at once, while it backs off: %s", end.c_str());

  std::unique_ptr<Instance> second = cluster.serve("hello", "b");
  second->server.reset();
  cluster.settle();
  end = cluster.run(*channel);
  cr_assert(end == "UNAVAILABLE: \"hello\" has 2 instances, but none can be reached: " + refused("a"), "%s",
            end.c_str());
}

Test(channel, says_what_troubles_the_registry) {
  Cluster cluster;
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Call call;
  cluster.start(*channel, call);
  registry.tell({}, {Code::permission_denied, "/run/x is not yours"});
  cluster.settle();
  cr_assert(call.end() == "UNAVAILABLE: no instance of \"hello\" is announced; /run/x is not yours", "%s",
            call.end().c_str());
}

Test(channel, does_not_wait_for_ever_for_a_registry) {
  Cluster cluster;
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Call call;
  cluster.start(*channel, call);
  cluster.world.loop.run_for(limits::resolve_timeout - ms(1));
  cr_assert(call.end() == "open");
  cluster.world.loop.run_for(ms(2));
  cr_assert_eq(call.code(), Code::unavailable);
  cr_assert(call.end().ends_with("the registry has not answered for 5 s"), "%s", call.end().c_str());

  // Late is better than never.
  Instance hello(cluster, "hello", "a");
  registry.tell({hello.endpoint()});
  cluster.settle();
  cr_assert(cluster.run(*channel) == "OK");
}

Test(channel, fails_a_call_whose_deadline_has_passed_before_anything_else) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call call("/hello/greet", "hi", cluster.world.loop.now());
  cr_assert(cluster.run(*channel, call) == "DEADLINE_EXCEEDED: the deadline passed before the call was sent");
  cr_assert_eq(hello->server->session_count(), 0);
}

Test(channel, sends_nothing_of_a_call_that_was_cancelled_before) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  for (bool connected : {false, true}) {
    if (connected) call_all(cluster, *channel, 1);
    int before = hello->greet.calls;
    Call call;
    call.context.cancel(cancelled("enough"));
    cr_assert(cluster.run(*channel, call).starts_with("CANCELLED: enough"), "%s", call.end().c_str());
    cr_assert_eq(hello->greet.calls, before);
    cr_assert_eq(call.answers, 1);
  }
}

Test(channel, may_be_destroyed_by_an_answer_that_comes_at_once) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  for (bool connected : {false, true}) {
    for (bool late : {false, true}) {
      std::unique_ptr<Channel> channel = cluster.channel("hello");
      if (connected) call_all(cluster, *channel, 1);
      Call call("/hello/greet", "hi", late ? cluster.world.loop.now() : Time::never());
      call.then = [&] { channel.reset(); };
      if (!late) call.context.cancel(cancelled("enough"));
      cluster.start(*channel, call);
      cr_assert(channel == nullptr && call.answers == 1);
      cluster.settle();
    }
  }
}

// ---- which instance

Test(channel, spreads_calls_evenly) {
  Cluster cluster;
  std::vector<std::unique_ptr<Instance>> all;
  for (const char* id : {"a", "b", "c", "d"}) all.push_back(cluster.serve("hello", id));
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  call_all(cluster, *channel, 1);
  int first[4];
  for (int i = 0; i < 4; i++) first[i] = all[i]->greet.calls;
  call_all(cluster, *channel, 400);
  for (int i = 0; i < 4; i++) cr_assert_eq(all[i]->greet.calls - first[i], 100);
}

Test(channel, gives_calls_to_a_new_instance) {
  Cluster cluster;
  std::unique_ptr<Instance> first = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  call_all(cluster, *channel, 10);
  std::unique_ptr<Instance> second = cluster.serve("hello", "b");
  cluster.settle();
  call_all(cluster, *channel, 10);
  cr_assert_eq(first->greet.calls, 15);
  cr_assert_eq(second->greet.calls, 5);
  cr_assert_eq(first->server->session_count(), 1, "who stays keeps its connection");
}

Test(channel, passes_over_an_instance_that_cannot_be_reached) {
  Cluster cluster;
  std::unique_ptr<Instance> works = cluster.serve("hello", "a"), broken = cluster.serve("hello", "b");
  broken->server.reset();
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  call_all(cluster, *channel, 20);
  cr_assert_eq(works->greet.calls, 20);
}

Test(channel, lets_a_withdrawn_instance_finish_and_gives_it_no_more) {
  Cluster cluster;
  std::unique_ptr<Instance> leaves = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call runs("/hello/hold");
  cr_assert(cluster.run(*channel, runs) == "open");
  std::unique_ptr<Instance> stays = cluster.serve("hello", "b");
  leaves->withdraw();
  cluster.settle();
  call_all(cluster, *channel, 10);
  cr_assert_eq(leaves->greet.calls, 0);
  cr_assert_eq(stays->greet.calls, 10);
  cr_assert(runs.end() == "open");
  leaves->hold.last().reply(with("done"));
  cluster.settle();
  cr_assert(runs.end() == "OK" && runs.body() == "done");
  cr_assert_eq(leaves->server->session_count(), 0, "its connection is closed then");
}

Test(channel, fails_the_calls_of_a_killed_instance_at_once_and_goes_elsewhere) {
  Cluster cluster;
  std::unique_ptr<Instance> dies = cluster.serve("hello", "a"), lives = cluster.serve("hello", "b");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Calls calls;
  for (int i = 0; i < 10; i++) {
    calls.push_back(std::make_unique<Call>("/hello/hold"));
    cluster.run(*channel, *calls.back());
  }
  cr_assert_eq(dies->hold.count() + lives->hold.count(), 10);
  // The next call comes in the very moment in which the first one fails.
  Call next;
  for (const auto& call : calls)
    call->then = [&] {
      if (next.answers == 0 && lives->greet.calls == 0) cluster.start(*channel, next);
      for (const auto& each : calls) each->then = {};
    };
  dies->kill();
  cluster.settle();
  size_t failed = 0;
  for (const auto& call : calls) failed += call->code() == Code::unavailable;
  cr_assert_eq(failed, dies->hold.count());
  cr_assert(next.end() == "OK", "%s", next.end().c_str());
  call_all(cluster, *channel, 10);
  cr_assert_eq(lives->greet.calls, 11);
}

Test(channel, ends_the_calls_of_a_dead_instance_whose_connection_still_stands) {
  Cluster cluster;
  std::unique_ptr<Instance> dies = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call call("/hello/hold");
  cluster.run(*channel, call);
  cr_assert(cluster.registry.kill("hello", "a"));
  cluster.settle();
  cr_assert(call.end() == "UNAVAILABLE: the connection to mem:a was given up", "%s", call.end().c_str());
  cr_assert(dies->hold.last().cancelled.has_value());
}

Test(channel, says_that_the_last_instance_has_gone) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  call_all(cluster, *channel, 1);
  hello->kill();
  cluster.settle();
  cr_assert(cluster.run(*channel) == "UNAVAILABLE: no instance of \"hello\" is announced");
  std::unique_ptr<Instance> again = cluster.serve("hello", "b");
  cr_assert(cluster.run(*channel) == "OK");
}

Test(channel, follows_an_instance_that_is_announced_anew_elsewhere) {
  Cluster cluster;
  Instance first(cluster, "hello", "a"), second(cluster, "hello", "b");
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Call one, two;
  cluster.start(*channel, one);
  registry.tell({{"id", {url("mem:a")}}});
  cluster.settle();
  cr_assert(one.end() == "OK");
  registry.tell({{"id", {url("mem:b")}}});
  cluster.settle();
  cr_assert(cluster.run(*channel, two) == "OK");
  cr_assert_eq(first.greet.calls, 1);
  cr_assert_eq(second.greet.calls, 1);
}

Test(channel, takes_a_snapshot_with_the_same_instance_twice) {
  Cluster cluster;
  Instance hello(cluster, "hello", "a");
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Call call;
  cluster.start(*channel, call);
  for (int i = 0; i < 3; i++) {
    registry.tell({hello.endpoint(), hello.endpoint()});
    cluster.settle();
  }
  cr_assert(call.end() == "OK");
  call_all(cluster, *channel, 4);
}

Test(channel, survives_a_server_that_drains_while_it_is_called) {
  Cluster cluster;
  std::unique_ptr<Instance> leaves = cluster.serve("hello", "a"), stays = cluster.serve("hello", "b");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  call_all(cluster, *channel, 2);
  bool drained = false;
  Calls calls;
  for (int i = 0; i < 200; i++) {
    calls.push_back(std::make_unique<Call>());
    cluster.start(*channel, *calls.back());
    if (i == 100) {
      leaves->withdraw();
      leaves->server->drain(sec(10), [&] { drained = true; });
    }
    cluster.world.loop.run_one();
  }
  cluster.settle();
  for (const auto& call : calls) cr_assert(call->end() == "OK", "%s", call->end().c_str());
  cr_assert(drained);
  cr_assert_gt(leaves->greet.calls, 10);
}

// ---- waiting

Test(channel, lets_calls_wait_in_order_when_the_peer_takes_no_more) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = serve_few(cluster);
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Calls calls;
  for (int i = 0; i < 2500; i++) {
    calls.push_back(std::make_unique<Call>("/hello/hold", std::to_string(i)));
    cluster.start(*channel, *calls.back());
  }
  cluster.settle();
  cr_assert_eq(hello->hold.count(), calls_max);
  size_t answered = 0;
  while (answered < calls.size()) {
    cr_assert_gt(hello->hold.count(), answered, "calls wait for nothing");
    Holder::Call& call = *hello->hold.calls[answered];
    cr_assert(std::get<Bytes>(call.request.body).view() == std::to_string(answered), "out of order");
    call.reply(with("done"));
    answered++;
    if (answered % 100 == 0) cluster.settle();
  }
  cluster.settle();
  for (const auto& call : calls) cr_assert(call->end() == "OK", "%s", call->end().c_str());
}

Test(channel, lets_no_call_pass_those_that_wait) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = serve_few(cluster);
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  // A handler that goes on would count against the limit.
  hello->hold.then_cancelled = [](Holder::Call& call) { call.reply(Status(Code::cancelled, "as you wish")); };
  Calls calls;
  for (size_t i = 0; i < calls_max + 1; i++) {
    calls.push_back(std::make_unique<Call>("/hello/hold"));
    cluster.start(*channel, *calls.back());
  }
  cluster.settle();
  // There is room, but the loop has not told the channel yet.
  calls[0]->context.cancel(cancelled("enough"));
  Call late("/hello/hold", "late");
  cluster.start(*channel, late);
  cluster.settle();
  cr_assert_eq(hello->hold.count(), calls_max + 1);
  cr_assert(std::get<Bytes>(hello->hold.last().request.body).view() == "hi");
}

Test(channel, refuses_more_waiting_calls_than_its_bound) {
  Cluster cluster;
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Method method{"/hello/greet"};
  Context context(Time::never(), {});
  size_t open = limits::calls_waiting_max;
  for (size_t i = 0; i < limits::calls_waiting_max; i++)
    channel->call({&method, &context, {}, Bytes::copy("hi")}, [&](Result<Response>) { open--; });
  cr_assert_eq(open, limits::calls_waiting_max);
  Call call;
  cr_assert(cluster.run(*channel, call) == "RESOURCE_EXHAUSTED: 100000 calls wait for \"hello\" already");
  registry.tell({});
  cluster.settle();
  cr_assert_eq(open, 0);
}

Test(channel, fails_a_call_that_waits_when_its_deadline_comes) {
  Cluster cluster;
  Dials dials(cluster.world);
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry, &dials.network);
  Time deadline = cluster.world.loop.now() + ms(100);
  Call call("/hello/greet", "hi", deadline);
  Time when;
  call.then = [&] { when = cluster.world.loop.now(); };
  cluster.start(*channel, call);
  registry.tell({{"1", {url("door:a")}}});
  cluster.world.loop.run_for(sec(1));
  cr_assert(call.end() == "DEADLINE_EXCEEDED: the deadline passed while the call waited for a connection to \"hello\"",
            "%s", call.end().c_str());
  cr_assert_eq(when.ns, deadline.ns);
  Instance hello(cluster, "hello", "a");
  dials.open(0, "a");
  cluster.settle();
  cr_assert_eq(hello.greet.calls, 0);
  cr_assert(cluster.run(*channel) == "OK");
}

Test(channel, fails_a_call_that_waits_for_the_registry_when_its_deadline_comes) {
  Cluster cluster;
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Call call("/hello/greet", "hi", cluster.world.loop.now() + ms(100));
  cluster.start(*channel, call);
  cluster.world.loop.run_for(sec(1));
  cr_assert_eq(call.code(), Code::deadline_exceeded);
}

Test(channel, lets_a_call_that_waits_be_cancelled) {
  Cluster cluster;
  Dials dials(cluster.world);
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry, &dials.network);
  Calls calls;
  for (int i = 0; i < 3; i++) {
    calls.push_back(std::make_unique<Call>());
    cluster.start(*channel, *calls.back());
  }
  registry.tell({{"1", {url("door:a")}}});
  cluster.settle();
  calls[1]->context.cancel(cancelled("enough"));
  cr_assert(calls[1]->end() == "CANCELLED: enough while the call waited for a connection to \"hello\"");
  Instance hello(cluster, "hello", "a");
  dials.open(0, "a");
  cluster.settle();
  cr_assert(calls[0]->end() == "OK" && calls[2]->end() == "OK");
  cr_assert_eq(hello.greet.calls, 2);
  cr_assert_eq(calls[1]->answers, 1);
}

Test(channel, lets_a_call_wait_until_somebody_is_ready) {
  Cluster cluster;
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call patient;
  patient.wait_for_ready = true;
  cr_assert(cluster.run(*channel, patient) == "open");
  cr_assert_eq((cluster.run(*channel), patient.answers), 0, "another that fails fast does not take it along");

  // Announced, but refused.
  Instance hello(cluster, "hello", "a");
  std::unique_ptr<Server> server = std::move(hello.server);
  server.reset();
  hello.announce();
  cluster.world.loop.run_for(ms(100));
  cr_assert(patient.end() == "open");
  cr_assert_eq(cluster.run(*channel).substr(0, 11), "UNAVAILABLE");
  hello.server = std::make_unique<Server>(cluster.world.loop, cluster.world.network, cluster.world.log, hello.router);
  cr_assert(hello.server->listen(url("mem:a")).ok());
  cluster.world.loop.run_for(sec(3));
  cr_assert(patient.end() == "OK", "%s", patient.end().c_str());
}

Test(channel, says_at_the_deadline_what_a_patient_call_waited_for) {
  Cluster cluster;
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Call patient("/hello/greet", "hi", cluster.world.loop.now() + sec(60));
  patient.wait_for_ready = true;
  cluster.start(*channel, patient);
  cluster.world.loop.run_for(sec(100));
  cr_assert(patient.end() == "DEADLINE_EXCEEDED: the deadline passed; no instance of \"hello\" is announced", "%s",
            patient.end().c_str());
}

Test(channel, serves_calls_again_when_an_unreachable_instance_comes_back) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  call_all(cluster, *channel, 1);
  hello->server.reset();
  cluster.settle();
  cr_assert_eq(cluster.run(*channel).substr(0, 11), "UNAVAILABLE");
  hello->server = std::make_unique<Server>(cluster.world.loop, cluster.world.network, cluster.world.log, hello->router);
  cr_assert(hello->server->listen(url("mem:a")).ok());
  cluster.world.loop.run_for(sec(2));
  cr_assert(cluster.run(*channel) == "OK", "within the first back-off");
}

Test(channel, lets_calls_wait_while_a_lost_connection_is_dialled_anew) {
  Cluster cluster;
  Dials dials(cluster.world);
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry, &dials.network);
  Instance hello(cluster, "hello", "a");
  Call first, second;
  cluster.start(*channel, first);
  registry.tell({{"1", {url("door:a")}}});
  dials.open(0, "a");
  cluster.settle();
  cr_assert(first.end() == "OK");
  hello.server->drain(sec(1), [] {});
  cluster.settle();
  cr_assert(cluster.run(*channel, second) == "open");
  Instance next(cluster, "hello", "b");
  dials.open(1, "b");
  cluster.settle();
  cr_assert(second.end() == "OK");
}

// ---- the end

Test(channel, ends_its_calls_when_it_is_destroyed) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = serve_few(cluster);
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  Calls calls;
  for (size_t i = 0; i < calls_max + 10; i++) {
    calls.push_back(std::make_unique<Call>("/hello/hold", "hi", cluster.world.loop.now() + sec(100)));
    cluster.start(*channel, *calls.back());
  }
  cluster.settle();
  channel.reset();
  for (const auto& call : calls) {
    cr_assert_eq(call->code(), Code::unavailable);
    cr_assert_eq(call->answers, 1);
  }
  cr_assert(calls[0]->end() == "UNAVAILABLE: the connection to mem:a was given up");
  cr_assert(calls.back()->end() == "UNAVAILABLE: the channel to \"hello\" was closed");
  cluster.settle();
  cr_assert_eq(hello->server->session_count(), 0);
  cr_assert(hello->hold.last().cancelled.has_value());
  cluster.world.loop.run_for(sec(200));
  for (const auto& call : calls) cr_assert_eq(call->answers, 1);
}

Test(channel, can_be_destroyed_in_each_of_its_states) {
  for (int state = 0; state < 6; state++) {
    Cluster cluster;
    Dials dials(cluster.world);
    ToldRegistry registry;
    Instance hello(cluster, "hello", "a");
    std::unique_ptr<Channel> channel = cluster.channel("hello", &registry, &dials.network);
    Call call, patient;
    patient.wait_for_ready = true;
    if (state > 0) {
      cluster.start(*channel, call);
      cluster.start(*channel, patient);
    }
    if (state == 2) registry.tell({});
    if (state > 2) registry.tell({{"1", {url("door:a")}}});
    if (state == 4) dials.refuse(0);
    if (state == 5) {
      dials.open(0, "a");
      cluster.settle();
      registry.tell({});  // its node is leaving
    }
    channel.reset();
    if (state > 0 && state < 5) cr_assert(call.answers == 1 && patient.answers == 1, "state %d", state);
    cluster.world.loop.run_for(sec(100));
    cr_assert_leq(call.answers, 1);
    cr_assert_eq(hello.server->session_count(), 0);
    cr_assert(registry.current == nullptr);
  }
}

Test(channel, leaves_nothing_waiting_in_the_loop) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a"), broken = cluster.serve("hello", "b");
  broken->server.reset();
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  call_all(cluster, *channel, 5);
  channel.reset();
  hello.reset();
  broken.reset();
  cluster.settle();
  cr_assert_eq(cluster.world.loop.timer_count(), 0);
  cr_assert_eq(cluster.world.loop.post_count(), 0);
}

// ---- a channel to every name

Test(channel, makes_one_of_each_name_that_is_called) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a"), clock = cluster.serve("demo.v1.Clock", "b");
  std::vector<std::string> made;
  Channels channels([&](std::string service) -> Result<std::unique_ptr<Channel>> {
    made.push_back(service);
    return cluster.channel(service);
  });
  for (std::string_view path : {"/hello/greet", "/demo.v1.Clock/greet", "/hello/greet"}) {
    Call call(path);
    channels.call(call.request(), call.reply());
    cluster.settle();
    cr_assert(call.end() == "OK", "%s", call.end().c_str());
  }
  cr_assert(made == std::vector<std::string>({"hello", "demo.v1.Clock"}));
}

Test(channel, refuses_a_path_whose_first_part_is_no_name) {
  Channels channels([](std::string) -> Result<std::unique_ptr<Channel>> { return internal("not asked"); });
  for (std::string path : {"", "/", "//greet", "/../greet", "/a b/greet"}) {
    Call call(path);
    channels.call(call.request(), call.reply());
    cr_assert_eq(call.code(), Code::invalid_argument, "%s: %s", path.c_str(), call.end().c_str());
  }
  cr_assert(service_of_path("/shop.v1.Cart/Add") == "shop.v1.Cart");
  cr_assert(service_of_path("shop.v1.Cart/Add") == "shop.v1.Cart");
  cr_assert(service_of_path("hello") == "hello");
}

// ---- metadata

Test(channel, logs_metadata_over_the_soft_limit_once_on_each_side, .init = cr_redirect_stderr) {
  {
    Cluster cluster;
    std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
    std::unique_ptr<Channel> channel = cluster.channel("hello");
    for (int i = 0; i < 3; i++) {
      Call call;
      call.metadata.add("x-padding", std::string(limits::metadata_bytes_soft, 'a'));
      cr_assert(cluster.run(*channel, call) == "OK", "%s", call.end().c_str());  // echoed
    }
  }
  fflush(stderr);
  std::string lines(64 << 10, '\0');
  size_t size = fread(lines.data(), 1, lines.size(), cr_get_redirected_stderr());
  lines.resize(size);
  size_t count = 0;
  for (size_t at = 0; (at = lines.find("over 8192 many gRPC peers refuse it", at)) != std::string::npos; at++) count++;
  cr_assert_eq(count, 2, "%s", lines.c_str());
  cr_assert(lines.starts_with("nebula: warn: mem:"), "%s", lines.c_str());
}

// ---- transparent retry (gRFC A6)

namespace {

// An instance of "hello" that is an HTTP/2 server of the test's own.
struct Stranger {
  explicit Stranger(Cluster& cluster, std::string id = "a") {
    Result<std::unique_ptr<Listener>> made =
        cluster.world.network.listen(url("mem:" + id), [this, &cluster](std::unique_ptr<Conn> conn) {
          ends.push_back(std::make_unique<SessionEnd>());
          ends.back()->then_stream = [this](StreamEnd& stream) { streams.push_back(&stream); };
          ends.back()->start(cluster.world.loop, std::move(conn), true);
        });
    cr_assert(made.ok());
    listener = std::move(*made);
    endpoints = {{id, {url("mem:" + id)}}};
  }

  std::unique_ptr<Channel> channel(Cluster& cluster) { return cluster.channel("hello", &registry); }

  // Answers a request: "OK" with what was asked.
  static void answer(StreamEnd& stream) {
    stream.stream->headers(response_head(), false);
    stream.stream->data(Bytes::copy(stream.received), false);
    stream.stream->headers(fields({{"grpc-status", "0"}}), true);
  }

  void announce() { registry.tell(endpoints); }

  ToldRegistry registry;
  EndpointList endpoints;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<SessionEnd>> ends;
  std::vector<StreamEnd*> streams;  // of all connections, in the order in which they came
};

Calls start_all(Cluster& cluster, Channel& channel, int count) {
  Calls calls;
  for (int i = 0; i < count; i++) {
    calls.push_back(std::make_unique<Call>("/hello/greet", std::to_string(i)));
    cluster.start(channel, *calls.back());
  }
  return calls;
}

std::string order_of(const std::vector<StreamEnd*>& streams, size_t from) {
  std::string text;
  for (; from < streams.size(); from++) text += streams[from]->received.substr(frame_prefix_bytes) + " ";
  return text;
}

}  // namespace

Test(channel, tries_a_call_that_a_connection_has_left_out_once_more) {
  Cluster cluster;
  std::vector<std::unique_ptr<End>> ends;
  Result<std::unique_ptr<Listener>> listener =
      cluster.world.network.listen(url("mem:a"), [&](std::unique_ptr<Conn> conn) {
        ends.push_back(std::make_unique<End>(std::move(conn)));
        ends.back()->write(raw::frame(raw::settings, 0, 0, ""));
      });
  cr_assert(listener.ok());
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Call call;
  cluster.start(*channel, call);
  registry.tell({{"a", {url("mem:a")}}});
  for (size_t connection : {0, 1}) {
    cluster.settle();
    cr_assert_eq(ends.size(), connection + 1);
    cr_assert_eq(raw::frames_of(ends.back()->received, raw::headers).size(), 1);
    cr_assert(call.end() == "open");
    ends.back()->write(raw::frame(raw::goaway, 0, 0, raw::number(0) + raw::number(0)));
  }
  cluster.settle();
  cr_assert_eq(call.code(), Code::unavailable, "once is enough");
  cr_assert_eq(call.ending()->fate, Fate::unprocessed);
  cr_assert_eq(call.answers, 1);
  MetricsSnapshot all = cluster.world.loop.metrics().snapshot();
  const ClientMetrics& counts = all.client[{"hello", "hello/greet"}];
  cr_assert_eq(counts.calls, 1);
  cr_assert_eq(counts.attempts, 2);
  cr_assert_eq(counts.transparent_retries, 1);
  cr_assert_eq(counts.retries, 0);
  cr_assert_eq(counts.attempt_duration.count(Code::unavailable), 2);
  cr_assert_eq(counts.call_duration.count(Code::unavailable), 1);
}

Test(channel, says_how_often_a_call_was_tried_that_may_not_be_repeated) {
  Cluster cluster;
  std::vector<std::unique_ptr<End>> ends;
  SessionEnd last;
  StreamEnd* stream = nullptr;
  last.then_stream = [&](StreamEnd& begun) { stream = &begun; };
  Result<std::unique_ptr<Listener>> listener =
      cluster.world.network.listen(url("mem:a"), [&](std::unique_ptr<Conn> conn) {
        if (ends.size() == 2) return last.start(cluster.world.loop, std::move(conn), true);
        ends.push_back(std::make_unique<End>(std::move(conn)));
        ends.back()->write(raw::frame(raw::settings, 0, 0, ""));
      });
  cr_assert(listener.ok());
  std::unique_ptr<Lease> lease;
  cluster.registry.announce("hello", {"a", {url("mem:a")}}, [&](Result<std::unique_ptr<Lease>> made) {
    lease = std::move(*made);
  });
  std::unique_ptr<Channel> channel = cluster.channel_with("retry:");
  Call call;
  cluster.start(*channel, call);
  for (size_t connection : {0, 1}) {
    cluster.world.loop.run_for(sec(2));
    cr_assert_eq(ends.size(), connection + 1);
    ends.back()->write(raw::frame(raw::goaway, 0, 0, raw::number(0) + raw::number(0)));
  }
  cluster.world.loop.run_for(sec(2));
  cr_assert_not_null(stream, "%s", call.end().c_str());
  cr_assert_eq(stream->field(0, "grpc-previous-rpc-attempts"), "1");
}

Test(channel, tries_a_refused_call_at_once_and_then_in_growing_pauses) {
  Cluster cluster;
  Stranger stranger(cluster);
  std::unique_ptr<Channel> channel = stranger.channel(cluster);
  Call call("/hello/greet", "hi", cluster.world.loop.now() + sec(20));
  cluster.start(*channel, call);
  stranger.announce();
  cluster.settle();
  std::vector<Time> tries;
  while (call.answers == 0) {
    if (stranger.streams.size() > tries.size()) {
      tries.push_back(cluster.world.loop.now());
      stranger.streams.back()->stream->reset(h2::refused_stream);
    }
    cr_assert(cluster.world.loop.run_one());
  }
  cr_assert_lt(tries[1] - tries[0], ms(1));
  for (size_t i = 2; i < tries.size(); i++) {
    Duration pause = std::min(limits::refusal_pause_first * (1 << (i - 2)), limits::refusal_pause_max);
    cr_assert_lt(tries[i] - tries[i - 1] - pause, ms(1), "try %zu", i);
    cr_assert_geq(tries[i] - tries[i - 1], pause, "try %zu", i);
  }
  cr_assert_eq(tries.size(), 24);
  cr_assert_eq(call.code(), Code::deadline_exceeded);
}

Test(channel, lets_refused_calls_wait_for_those_that_the_peer_has_taken) {
  Cluster cluster;
  Stranger stranger(cluster);
  std::unique_ptr<Channel> channel = stranger.channel(cluster);
  Calls calls = start_all(cluster, *channel, 40);
  stranger.announce();
  cluster.settle();
  // A server that takes three at a time, whatever its SETTINGS say, until the last has been answered.
  size_t seen = 0, refusals = 0, rounds = 0;
  std::vector<StreamEnd*> taken;
  std::string order;
  auto look = [&] {
    for (; seen < stranger.streams.size(); seen++) {
      if (taken.size() < 3) {
        order += stranger.streams[seen]->received.substr(frame_prefix_bytes) + " ";
        taken.push_back(stranger.streams[seen]);
      } else {
        refusals++;
        stranger.streams[seen]->stream->reset(h2::refused_stream);
      }
    }
    cluster.settle();
    rounds += 2;
  };
  look();
  cr_assert_eq(refusals, 37);
  std::string expected = "0 1 2 ";
  for (int i = 3; i < 40; i++) {
    Stranger::answer(*taken.front());
    taken.erase(taken.begin());
    cluster.settle();
    look();
    expected += std::to_string(i) + " ";
    cr_assert(order == expected, "%s", order.c_str());
  }
  // Beside the first ones, what was tried every now and then: a settle is a millisecond.
  cr_assert_leq(refusals, 37 + rounds / static_cast<size_t>(limits::refusal_pause_first.ms()) + 1);
  for (StreamEnd* each : taken) Stranger::answer(*each);
  cluster.settle();
  for (const auto& call : calls) cr_assert(call->end() == "OK", "%s", call->end().c_str());
}

Test(channel, finds_out_that_a_peer_takes_more_again) {
  Cluster cluster;
  Stranger stranger(cluster);
  std::unique_ptr<Channel> channel = stranger.channel(cluster);
  Calls calls = start_all(cluster, *channel, 10);
  stranger.announce();
  cluster.settle();
  for (size_t i = 2; i < 10; i++) stranger.streams[i]->stream->reset(h2::refused_stream);
  cluster.settle();
  cr_assert_eq(stranger.streams.size(), 10);
  // The two that it has taken go on, and each second one more is let in.
  cluster.world.loop.run_for(sec(9));
  cr_assert_eq(stranger.streams.size(), 18);
  cr_assert(order_of(stranger.streams, 10) == "2 3 4 5 6 7 8 9 ", "%s", order_of(stranger.streams, 10).c_str());
}

Test(channel, goes_elsewhere_with_what_one_instance_refuses) {
  Cluster cluster;
  Stranger full(cluster, "a"), free(cluster, "b");
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Calls calls = start_all(cluster, *channel, 2);
  registry.tell({full.endpoints[0], free.endpoints[0]});
  cluster.settle();
  cr_assert_eq(full.streams.size() + free.streams.size(), 2);
  Calls more = start_all(cluster, *channel, 8);
  cluster.settle();
  size_t before = full.streams.size();
  cr_assert_gt(before, 2);
  for (size_t i = 1; i < before; i++) full.streams[i]->stream->reset(h2::refused_stream);
  cluster.settle();
  cr_assert_eq(free.streams.size(), 9);
}

Test(channel, answers_a_refused_call_by_its_second_try) {
  Cluster cluster;
  Stranger stranger(cluster);
  std::unique_ptr<Channel> channel = stranger.channel(cluster);
  Call call("/hello/greet", "who");
  cluster.start(*channel, call);
  stranger.announce();
  cluster.settle();
  stranger.streams[0]->stream->reset(h2::refused_stream);
  cluster.settle();
  Stranger::answer(*stranger.streams.at(1));
  cluster.settle();
  cr_assert(call.end() == "OK" && call.body() == "who");
}

Test(channel, tries_a_refused_call_though_no_retries_are_left_to_its_tree) {
  Cluster cluster;
  Stranger stranger(cluster);
  std::unique_ptr<Channel> channel = stranger.channel(cluster);
  Call call;
  call.context.set_nested(NestedRetries::make(0));
  cluster.start(*channel, call);
  stranger.announce();
  cluster.settle();
  stranger.streams[0]->stream->reset(h2::refused_stream);
  cluster.settle();
  cr_assert(stranger.streams.at(1)->field(0, "nebula-retries-left") == "0");
  cr_assert(stranger.streams[1]->field(0, "grpc-previous-rpc-attempts") == "");
  Stranger::answer(*stranger.streams[1]);
  cluster.settle();
  cr_assert(call.end() == "OK");
}

Test(channel, keeps_the_order_of_refused_calls) {
  Cluster cluster;
  Stranger stranger(cluster);
  std::unique_ptr<Channel> channel = stranger.channel(cluster);
  Calls calls = start_all(cluster, *channel, 6);
  stranger.announce();
  cluster.settle();
  cr_assert(order_of(stranger.streams, 0) == "0 1 2 3 4 5 ");
  for (int i : {0, 4, 1, 2, 5}) stranger.streams[static_cast<size_t>(i)]->stream->reset(h2::refused_stream);
  cluster.settle();
  cr_assert_eq(stranger.streams.size(), 6, "it takes one at a time");
  Stranger::answer(*stranger.streams[3]);
  cluster.settle();
  for (size_t i = 6; i < 11; i++) {
    cr_assert_eq(stranger.streams.size(), i + 1);
    Stranger::answer(*stranger.streams[i]);
    cluster.settle();
  }
  cr_assert(order_of(stranger.streams, 6) == "0 1 2 4 5 ", "%s", order_of(stranger.streams, 6).c_str());
}

Test(channel, tries_what_has_not_left_until_it_leaves) {
  Cluster cluster;
  constexpr int rounds = 4;
  std::vector<std::unique_ptr<End>> ends;
  Result<std::unique_ptr<Listener>> listener =
      cluster.world.network.listen(url("mem:a"), [&](std::unique_ptr<Conn> conn) {
        ends.push_back(std::make_unique<End>(std::move(conn)));
        ends.back()->write(raw::frame(raw::settings, 0, 0, ""));
      });
  cr_assert(listener.ok());
  ToldRegistry registry;
  std::unique_ptr<Channel> channel = cluster.channel("hello", &registry);
  Call next("/hello/greet", "next");
  Calls calls;
  auto start_one = [&] {
    calls.push_back(std::make_unique<Call>());
    cluster.start(*channel, *calls.back());
  };
  start_one();
  registry.tell({{"a", {url("mem:a")}}});
  for (int round = 1; round <= rounds; round++) {
    cluster.world.loop.run_for(sec(3));
    cr_assert_eq(ends.size(), round);
    // Inside the answer the next call is queued; then, in the same breath, it turns out that it will not be taken.
    std::string answer = raw::head(1, {{":status", "200"}, {"grpc-status", "5"}}, true);
    calls.back()->then = start_one;
    ends.back()->write(answer + raw::frame(raw::goaway, 0, 0, std::string("\0\0\0\1\0\0\0\0", 8)));
    cluster.settle();
    cr_assert_eq(calls.size(), round + 1);
    cr_assert_eq(calls.back()->answers, 0, "%s", calls.back()->end().c_str());
    cr_assert_eq(calls[static_cast<size_t>(round) - 1]->code(), Code::not_found);
  }
}

Test(channel, does_not_repeat_a_stream_of_which_a_message_has_gone) {
  for (bool has_begun : {false, true}) {
    Cluster cluster;
    Stranger stranger(cluster);
    std::unique_ptr<Channel> channel = stranger.channel(cluster);
    Call call("/hello/chat", Shape::bidi);
    if (has_begun) call.requests.put("gone");
    cluster.start(*channel, call);
    stranger.announce();
    cluster.settle();
    stranger.streams[0]->stream->reset(h2::refused_stream);
    cluster.settle();
    cr_assert_eq(stranger.streams.size(), has_begun ? 1 : 2);
    if (has_begun)
      cr_assert_eq(call.ending()->fate, Fate::unprocessed);
    else
      cr_assert(call.end() == "open");
  }
}

Test(channel, can_be_cancelled_or_destroyed_between_two_tries) {
  for (bool destroys : {false, true}) {
    Cluster cluster;
    Stranger stranger(cluster);
    std::unique_ptr<Channel> channel = stranger.channel(cluster);
    Calls calls = start_all(cluster, *channel, 2);
    stranger.announce();
    cluster.settle();
    stranger.streams[0]->stream->reset(h2::refused_stream);
    stranger.streams[1]->stream->reset(h2::refused_stream);
    stranger.ends[0]->session->drain();
    stranger.listener.reset();  // nowhere to go
    cluster.settle();
    if (destroys)
      channel.reset();
    else
      for (const auto& call : calls) call->context.cancel(cancelled("enough"));
    cluster.settle();
    for (const auto& call : calls) {
      cr_assert_eq(call->answers, 1);
      if (!destroys) cr_assert(call->code() == Code::cancelled || call->code() == Code::unavailable);
    }
  }
}

Test(channel, keeps_the_deadline_over_tries) {
  Cluster cluster;
  Stranger stranger(cluster);
  std::unique_ptr<Channel> channel = stranger.channel(cluster);
  Time deadline = cluster.world.loop.now() + ms(100);
  Call call("/hello/greet", "hi", deadline);
  Time when;
  call.then = [&] { when = cluster.world.loop.now(); };
  cluster.start(*channel, call);
  stranger.announce();
  cluster.settle();
  stranger.streams[0]->stream->reset(h2::refused_stream);
  cluster.world.loop.run_for(sec(1));
  cr_assert_eq(stranger.streams.size(), 2);
  cr_assert_eq(call.code(), Code::deadline_exceeded);
  cr_assert_eq(when.ns, deadline.ns);
}

Test(channel, may_be_destroyed_by_the_end_of_a_call_whose_source_fails_at_once) {
  Cluster cluster;
  std::unique_ptr<Instance> hello = cluster.serve("hello", "a");
  std::unique_ptr<Channel> channel = cluster.channel("hello");
  call_all(cluster, *channel, 1);
  Call call("/hello/chat", Shape::bidi);
  call.requests.end({Status(Code::data_loss, "the disk is gone")});
  call.then = [&] { channel.reset(); };
  cluster.start(*channel, call);
  cluster.settle();
  cr_assert(call.end() == "DATA_LOSS: the disk is gone");
  cr_assert(channel == nullptr);
}
