// unit/base/metrics_test.cc - the right bucket, names up to a bound, and sums of what several loops have counted.
#include "base/metrics.h"

#include <criterion/criterion.h>

#include "base/limits.h"

using namespace nebula;

namespace {

// By looking at all of them.
size_t bucket_in_words(Duration took) {
  size_t bucket = 0;
  while (bucket < Histogram::bounds_us.size() && took.ns > Histogram::bounds_us[bucket] * 1000) bucket++;
  return bucket;
}

}  // namespace

Test(metrics, puts_each_time_into_the_first_bucket_whose_bound_it_does_not_pass) {
  for (size_t i = 0; i < Histogram::bounds_us.size(); i++) {
    Duration bound = us(Histogram::bounds_us[i]);
    cr_assert_eq(Histogram::bucket_of(bound), i);
    cr_assert_eq(Histogram::bucket_of(bound + nanos(1)), i + 1);
  }
  for (int64_t ns = 0; ns < sec(200).ns; ns = ns * 9 / 8 + 1)
    cr_assert_eq(Histogram::bucket_of(nanos(ns)), bucket_in_words(nanos(ns)), "%ld ns", ns);
  cr_assert_eq(Histogram::bucket_of(nanos(-1)), 0);
  cr_assert_eq(Histogram::bucket_of(nanos(INT64_MAX - 1000)), Histogram::size - 1);
}

Test(metrics, adds_up_what_several_loops_have_counted) {
  Metrics one, two;
  one.target("hello").method("/hello/greet").calls = 2;
  one.target("hello").method("/hello/greet").call_duration.add(Code::ok, Histogram::bucket_of(ms(1)), ms(1));
  two.target("hello").method("/hello/greet").calls = 3;
  two.target("hello").method("/hello/greet").call_duration.add(Code::ok, Histogram::bucket_of(ms(2)), ms(2));
  two.target("hello").method("/hello/greet").call_duration.add(Code::aborted, Histogram::bucket_of(ms(2)), ms(2));
  two.server("/hello/greet").calls = 5;

  MetricsSnapshot all = one.snapshot();
  all.add(two.snapshot());
  const ClientMetrics& client = all.client[{"hello", "hello/greet"}];
  cr_assert_eq(client.calls, 5);
  cr_assert_eq(client.call_duration.count(Code::ok), 2);
  cr_assert_eq(client.call_duration.by_code[0]->sum.ns, ms(3).ns);
  cr_assert_eq(client.call_duration.count(Code::aborted), 1);
  cr_assert_eq(client.call_duration.count(Code::internal), 0);
  cr_assert_eq(all.server["hello/greet"].calls, 5);
  cr_assert_eq(one.snapshot().client.size(), 1, "what was asked stays as it is");
}

Test(metrics, counts_methods_beyond_the_bound_as_others) {
  Metrics metrics;
  for (size_t i = 0; i < 2 * limits::metrics_methods_max; i++) {
    std::string name = std::to_string(i);
    metrics.target("hello").method("/hello/" + name).calls++;
    metrics.target("target" + name).method("/hello/greet").calls++;
    metrics.server("/hello/" + name).calls++;
  }
  MetricsSnapshot all = metrics.snapshot();
  cr_assert_leq(all.client.size(), 2 * limits::metrics_methods_max + 1);
  cr_assert_eq(all.server.size(), limits::metrics_methods_max + 1);
  cr_assert_eq(all.server["other"].calls, limits::metrics_methods_max);
  uint64_t calls = 0;
  for (auto& [name, counts] : all.client) calls += counts.calls;
  cr_assert_eq(calls, 4 * limits::metrics_methods_max, "none is lost");
  cr_assert_geq((all.client[{"other", "other"}].calls), limits::metrics_methods_max);
  // A name that was known before the bound keeps its place.
  metrics.server("/hello/7").calls++;
  cr_assert_eq(metrics.snapshot().server["hello/7"].calls, 2);
}
