// unit/service/ejection_test.cc - who fails clearly more often than the others.
#include "service/ejection.h"

#include <criterion/criterion.h>

#include "kit/world.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Found = std::vector<size_t>;

std::string error_of(const char* text) { return EjectionOptions::parse(url(text)).status().text(); }

}  // namespace

Test(ejection, finds_the_one_that_fails_more_than_the_others) {
  std::vector<Outcome> outcomes(10, Outcome{1'000, 10});
  outcomes[6].failures = 300;
  cr_assert(find_outliers(outcomes, {}) == Found({6}));
}

Test(ejection, names_the_worst_first) {
  std::vector<Outcome> outcomes(20, Outcome{1'000, 0});
  outcomes[3].failures = 700;
  outcomes[8].failures = 900;
  cr_assert(find_outliers(outcomes, {}) == Found({8, 3}));
}

Test(ejection, finds_nobody_where_all_fail_alike) {
  cr_assert(find_outliers(std::vector<Outcome>(10, Outcome{1'000, 500}), {}).empty());
  cr_assert(find_outliers(std::vector<Outcome>(10, Outcome{1'000, 0}), {}).empty());
}

Test(ejection, finds_those_that_fail_too_much_for_anybody) {
  cr_assert_eq(find_outliers(std::vector<Outcome>(10, Outcome{1'000, 900}), {}).size(), 10);
}

Test(ejection, does_not_judge_by_few_calls_or_among_few_nodes) {
  std::vector<Outcome> outcomes(10, Outcome{99, 0});
  outcomes[0].failures = 99;
  cr_assert(find_outliers(outcomes, {}).empty());
  outcomes.assign(4, Outcome{1'000, 0});
  outcomes[0].failures = 1'000;
  cr_assert(find_outliers(outcomes, {}).empty());
  // Of those with too few calls nobody is compared with, either.
  outcomes.resize(10, Outcome{5, 5});
  cr_assert(find_outliers(outcomes, {}).empty());
}

Test(ejection, can_ask_for_other_numbers_of_calls_and_nodes_where_it_counts_failures) {
  EjectionOptions options;
  options.failures_nodes = 2;
  options.failures_calls = 10;
  std::vector<Outcome> outcomes = {{10, 10}, {10, 0}, {9, 9}};
  cr_assert(find_outliers(outcomes, options) == Found({0}), "two have had 10 calls");
  outcomes.assign(10, Outcome{1'000, 10});
  outcomes[2] = {10, 10};
  outcomes[5] = {1'000, 990};
  cr_assert(find_outliers(outcomes, options) == Found({2, 5}), "the second for both reasons, but once");
}

Test(ejection, reads_its_options) {
  Result<EjectionOptions> options = EjectionOptions::parse(url("outliers:?interval=5s&share=0.3&calls=10"));
  cr_assert(options.ok());
  cr_assert(options->interval == sec(5) && options->share == 0.3 && options->calls == 10);
  cr_assert(options->failures_calls == 10 && options->failures_nodes == 5, "the same, unless said otherwise");
  cr_assert_eq(error_of("outliers:?share=2"), "INVALID_ARGUMENT: \"outliers:?share=2\": share is a number from 0 to 1");
  cr_assert_eq(error_of("outliers:?most=1s"), "INVALID_ARGUMENT: \"outliers:?most=1s\": most is no less than first");
}
