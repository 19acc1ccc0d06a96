// unit/rpc/pace_test.cc - so much in one turn; and calls that wait for theirs.
#include "rpc/pace.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "kit/calls.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

constexpr int64_t share = limits::inflated_bytes_a_turn;

}  // namespace

Test(pace, gives_each_turn_its_share_and_keeps_the_order) {
  SimWorld world;
  Pace pace(world.loop);
  std::vector<int> done;
  cr_assert(pace.may_go());
  pace.spend(share - 1);
  cr_assert(pace.may_go());
  pace.spend(3 * share);
  cr_assert(!pace.may_go(), "more than was left, and it is paid for with the rest of the turn alone");
  for (int i = 0; i < 5; i++) {
    pace.wait([&, i] {
      cr_assert(pace.may_go());
      done.push_back(i);
      pace.spend(share / 2);
    });
  }
  for (size_t turn = 1; turn <= 3; turn++) {
    cr_assert(world.loop.run_one());
    cr_assert_eq(done.size(), std::min<size_t>(2 * turn, 5));
  }
  cr_assert(done == std::vector<int>({0, 1, 2, 3, 4}));
  cr_assert(pace.may_go());
  cr_assert(!world.loop.run_one());
}

Test(pace, lets_calls_pass_those_that_wait_to_be_inflated) {
  ServerWorld world;
  std::string zeros(static_cast<size_t>(share), 0), order;
  Handler greet([&](Request request, Reply reply) {
    order.push_back(std::get<Bytes>(request.body).size() > 100 ? 'L' : 's');
    reply(with("hi"));
  });
  cr_assert(world.router.add({"/hello/note", false, &greet}).ok());
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 6; i++) {
    calls.push_back(std::make_unique<Call>("/hello/note", i < 5 ? zeros : "small"));
    calls.back()->encoding = i < 5 ? Encoding::zstd : Encoding::identity;
    cr_assert(world.start(*calls.back()).ok());
  }
  world.settle();
  cr_assert_lt(order.find('s'), 3u, "%s", order.c_str());
  for (const auto& call : calls) cr_assert(call->end() == "OK");
}

Test(pace, may_be_waited_for_in_vain) {
  ServerWorld world;
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 5; i++) {
    calls.push_back(std::make_unique<Call>("/hello/greet", std::string(static_cast<size_t>(share), 0)));
    calls.back()->encoding = Encoding::zstd;
    cr_assert(world.start(*calls.back()).ok());
  }
  while (world.greet.calls == 0) cr_assert(world.world.loop.run_one());
  for (const auto& call : calls) call->context.cancel(cancelled("enough"));
  world.settle();
  cr_assert_lt(world.greet.calls, 5);
  cr_assert(world.lives());
}

Test(pace, holds_streams_back_as_well) {
  ServerWorld world;
  cr_assert(world.router.add({"/hello/collect", false, &world.hold, Shape::client_stream}).ok());
  Call call("/hello/collect", Shape::client_stream);
  call.encoding = Encoding::zstd;
  cr_assert(world.start(call).ok());
  world.settle();
  Reader in;
  in.start(requests_of(world.hold.last()));
  for (int i = 0; i < 5; i++) call.requests.put_compressed(std::string(static_cast<size_t>(share), 0));
  while (in.messages.empty()) cr_assert(world.world.loop.run_one());
  cr_assert_lt(in.messages.size(), 3);
  world.settle();
  cr_assert_eq(in.messages.size(), 5);
  world.hold.last().reply(with("thanks"));
  world.settle();
  cr_assert(call.end() == "OK");
}
