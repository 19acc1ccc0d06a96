// unit/rpc/metrics_test.cc - what a server counts of its calls, and that each is counted once, however it ends.
#include "base/metrics.h"

#include <criterion/criterion.h>

#include "kit/calls.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

ServerMetrics counts(ServerWorld& world, const std::string& method = "hello/hold") {
  MetricsSnapshot all = world.world.loop.metrics().snapshot();
  return std::move(all.server[method]);
}

uint64_t ended(const ServerMetrics& counts) {
  uint64_t all = 0;
  for (const auto& each : counts.call_duration.by_code)
    if (each != nullptr) all += each->count();
  return all;
}

}  // namespace

Test(server_metrics, counts_a_call_when_it_comes_and_how_long_it_took_when_it_ends) {
  ServerWorld world;
  Call call("/hello/hold");
  cr_assert(world.start(call).ok());
  world.settle();
  cr_assert_eq(counts(world).calls, 1);
  cr_assert_eq(ended(counts(world)), 0);
  world.world.loop.run_for(ms(70));
  world.hold.last().reply(with("there"));
  world.settle();
  ServerMetrics after = counts(world);
  cr_assert_eq(after.call_duration.count(Code::ok), 1);
  const Histogram& took = *after.call_duration.by_code[0];
  cr_assert_eq(took.counts[Histogram::bucket_of(ms(70))], 1);
  cr_assert(took.sum >= ms(70) && took.sum < ms(72));
}

Test(server_metrics, counts_by_the_status_that_the_caller_is_told) {
  ServerWorld world;
  for (Code code : {Code::ok, Code::aborted, Code::not_found}) {
    Call call("/hello/hold");
    cr_assert(world.start(call).ok());
    world.settle();
    if (code == Code::ok)
      world.hold.last().reply(with("there"));
    else
      world.hold.last().reply(Status(code, "no"));
    world.settle();
    cr_assert_eq(counts(world).call_duration.count(code), 1);
  }
  // An answer that is more than peers take is told as what it is, and counted so.
  Call call("/hello/hold");
  cr_assert(world.start(call).ok());
  world.settle();
  Response large = with("there");
  large.metadata.add("large", std::string(limits::metadata_bytes_max, 'x'));
  world.hold.last().reply(std::move(large));
  world.settle();
  cr_assert_eq(call.code(), Code::resource_exhausted);
  cr_assert_eq(counts(world).call_duration.count(Code::resource_exhausted), 1);
  cr_assert_eq(ended(counts(world)), 4);
  cr_assert_eq(counts(world).calls, 4);
}

Test(server_metrics, counts_a_call_once_whose_caller_goes_or_whose_deadline_passes) {
  ServerWorld world;
  Call gone("/hello/hold"), late("/hello/hold", "hi", world.world.loop.now() + ms(20));
  cr_assert(world.start(gone).ok());
  cr_assert(world.start(late).ok());
  world.settle();
  gone.context.cancel(cancelled("never mind"));
  world.world.loop.run_for(ms(50));
  for (auto& each : world.hold.calls) each->reply(with("too late"));
  world.settle();
  ServerMetrics after = counts(world);
  cr_assert_eq(after.call_duration.count(Code::cancelled), 1);
  cr_assert_eq(after.call_duration.count(Code::deadline_exceeded), 1);
  cr_assert_eq(ended(after), 2);
  cr_assert_eq(after.calls, 2);
}

Test(server_metrics, counts_paths_that_nobody_has_registered_as_others) {
  ServerWorld world;
  for (const char* path : {"/hello/nope", "/made/up", "/and/so/on"}) {
    Call call(path);
    cr_assert(world.run(call).starts_with("UNIMPLEMENTED"));
  }
  MetricsSnapshot all = world.world.loop.metrics().snapshot();
  cr_assert_eq(all.server.size(), 1);
  cr_assert_eq(all.server["other"].calls, 3);
  cr_assert_eq(all.server["other"].call_duration.count(Code::unimplemented), 3);
}
