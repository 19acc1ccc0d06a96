// unit/service/nested_retries_test.cc - services in a row, each of which tries the next one again: how often the last is tried.
#include "rpc/nested_retries.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// How a service calls the next one while it is called, and what it makes of the answer.
struct Step {
  std::string_view policy = "";
  bool is_idempotent = true;
  int calls = 1;                   // so many at a time; its own answer follows the last of them
  bool succeeds = false;           // whatever they come to
  std::string_view pushback = "";  // its handler's own
};

// Services "a", "b", ...; the last of them fails.
struct Row {
  explicit Row(std::vector<Step> given = {}) : steps(std::move(given)), told(steps.size() + 1) {
    for (size_t at = 0; at <= steps.size(); at++) {
      std::string name(1, static_cast<char>('a' + at));
      all.push_back(cluster.serve(name, name));
      all.back()->greet.answer_by([this, at](Request request, Reply reply) {
        told[at].push_back(request.context->retries_left());
        if (at < steps.size()) return call_next(at, std::move(request), std::move(reply));
        if (failures-- > 0) return reply(unavailable("not now"));
        reply(with("done"));
      });
      if (at > 0) channels.push_back(channel(steps[at - 1].policy, name));
    }
  }

  std::unique_ptr<Channel> channel(std::string_view policy, const std::string& name) {
    return cluster.channel_with("breaker=none: " + std::string(policy), name);
  }

  // As the border does it, for handlers that name the call that theirs are made for.
  void call_next(size_t at, Request request, Reply reply) {
    struct Handling {
      NestedShare nested;
      Reply reply;
      int open;
    };
    const Step& step = steps[at];
    auto handling = std::make_shared<Handling>(
        Handling{NestedRetries::make(request.context->retries_left()), std::move(reply), step.calls});
    for (int i = 0; i < step.calls; i++) {
      calls.push_back(std::make_unique<Call>("/" + all[at + 1]->service + "/greet"));
      Call& call = *calls.back();
      call.is_idempotent = step.is_idempotent;
      call.then = [&step, &call, handling] {
        if (!call.ending()->status.ok()) handling->nested->on_failure(call.context, call.ending()->trailers);
        if (--handling->open > 0) return;
        bool is_good = step.succeeds || call.ending()->status.ok();
        Response response = is_good ? with("done") : Response{{call.ending()->status}};
        if (!step.pushback.empty()) response.trailers.add("grpc-retry-pushback-ms", step.pushback);
        handling->nested->advise(&response);
        handling->reply(std::move(response));
      };
      call.context.set_nested(handling->nested->share());
      cluster.start(*channels[at], call);
    }
  }

  std::string run(std::string_view policy = "", bool is_idempotent = true) {
    if (first == nullptr) first = channel(policy, "a");
    caller = std::make_unique<Call>("/a/greet");
    caller->is_idempotent = is_idempotent;
    cluster.start(*first, *caller);
    cluster.world.loop.run_for(sec(30));
    return caller->end();
  }

  std::string pushback() const {
    return std::string(caller->ending()->trailers.find("grpc-retry-pushback-ms").value_or("none"));
  }

  using Told = std::vector<RetriesLeft>;  // what each try of a service says, in their order

  Cluster cluster;
  std::vector<Step> steps;
  std::vector<std::unique_ptr<Instance>> all;
  std::vector<std::unique_ptr<Channel>> channels;  // to "b", ...
  std::unique_ptr<Channel> first;                  // to "a"
  std::unique_ptr<Call> caller;
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<Told> told;
  int failures = INT32_MAX;                        // of the last one, to come
};

}  // namespace

Test(nested_retries, says_with_each_try_how_many_may_follow) {
  Row row;
  cr_assert(row.run() == "UNAVAILABLE: not now");
  cr_assert(row.told[0] == Row::Told({2, 1, 0}));
  cr_assert(row.pushback() == "none", "there was nothing below");
}

Test(nested_retries, says_nothing_with_a_call_that_is_not_tried_again) {
  for (auto [policy, is_idempotent] : {std::pair("", false), {"failfast:", true}, {"retry:?tries=1", true}}) {
    Row row;
    row.run(policy, is_idempotent);
    cr_assert(row.told[0] == Row::Told({any_retries}), "%s", policy);
  }
}

Test(nested_retries, tries_the_last_of_three_services_three_times_and_not_27) {
  Row row({Step(), Step()});
  cr_assert(row.run() == "UNAVAILABLE: not now");
  cr_assert(row.told[0] == Row::Told({2}) && row.told[1] == Row::Told({2}));
  cr_assert(row.told[2] == Row::Told({2, 1, 0}));
  cr_assert(row.pushback() == "-1");
}

Test(nested_retries, does_so_where_the_first_caller_is_no_client_of_ours) {
  Row row({Step(), Step()});
  row.run("failfast:");
  cr_assert(row.told[0] == Row::Told({any_retries}) && row.told[1] == Row::Told({2}));
  cr_assert(row.told[2] == Row::Told({2, 1, 0}));
}

Test(nested_retries, still_helps_where_the_last_service_answers_in_the_end) {
  Row row({Step(), Step()});
  row.failures = 2;
  cr_assert(row.run() == "OK", "%s", row.caller->end().c_str());
  cr_assert(row.told[0].size() == 1 && row.told[1].size() == 1 && row.told[2].size() == 3);
}

Test(nested_retries, has_no_more_than_its_caller_leaves) {
  Row row({Step{.policy = "retry:?tries=5"}});
  cr_assert(row.run("retry:?tries=2") == "UNAVAILABLE: not now");
  cr_assert(row.told[0] == Row::Told({1}) && row.told[1] == Row::Told({1, 0}));
}

Test(nested_retries, is_denied_where_the_caller_leaves_none) {
  Row row({Step{.pushback = "0"}});  // so that it is called again, whatever it has found
  cr_assert(row.run("retry:?tries=2") == "UNAVAILABLE: not now");
  cr_assert(row.told[0] == Row::Told({1, 0}));
  cr_assert(row.told[1] == Row::Told({1, 0, 0}), "one with one retry, and one without");
  cr_assert(row.pushback() == "0");
}

Test(nested_retries, says_that_it_was_denied) {
  Row row({Step()});
  Call call("/a/greet");
  call.is_idempotent = true;
  call.context.set_nested(NestedRetries::make(0));
  std::unique_ptr<Channel> channel = row.channel("", "a");
  row.cluster.start(*channel, call);
  row.cluster.world.loop.run_for(sec(5));
  cr_assert(row.told[0] == Row::Told({0}) && row.told[1] == Row::Told({0}));
  cr_assert(call.ending()->trailers.find("grpc-retry-pushback-ms") == "-1");
}

Test(nested_retries, is_shared_by_all_calls_that_are_made_for_one) {
  Row row({Step{.calls = 3}});
  cr_assert(row.run() == "UNAVAILABLE: not now");
  cr_assert_eq(row.told[0].size(), 1);
  cr_assert_eq(row.told[1].size(), 3 + 2);
}

Test(nested_retries, is_handed_on_by_a_call_that_is_not_tried_again) {
  Row row({Step{.is_idempotent = false}, Step()});
  cr_assert(row.run() == "UNAVAILABLE: not now");
  cr_assert(row.told[0] == Row::Told({2}) && row.told[1] == Row::Told({2}));
  cr_assert(row.told[2] == Row::Told({2, 1, 0}));
}

Test(nested_retries, says_nothing_above_where_nothing_was_tried_again) {
  Row row({Step{.is_idempotent = false}});
  cr_assert(row.run() == "UNAVAILABLE: not now");
  cr_assert(row.told[0] == Row::Told({2, 1, 0}) && row.told[1] == Row::Told({2, 1, 0}));
  cr_assert(row.pushback() == "none");
}

Test(nested_retries, says_nothing_with_an_answer) {
  Row row({Step{.succeeds = true}});
  cr_assert(row.run() == "OK");
  cr_assert(row.told[1].size() == 3 && row.pushback() == "none");
}

Test(nested_retries, lets_the_handler_say_otherwise) {
  Row row({Step{.pushback = "100"}});
  cr_assert(row.run() == "UNAVAILABLE: not now");
  cr_assert(row.told[0] == Row::Told({2, 1, 0}) && row.pushback() == "100");
  cr_assert_eq(row.told[1].size(), 3 + 2 + 1, "as many as were left each time");
}
