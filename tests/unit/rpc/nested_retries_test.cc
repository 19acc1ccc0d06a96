// unit/rpc/nested_retries_test.cc - retries that several calls share, and what the caller of all is told in the end.
#include "rpc/nested_retries.h"

#include <criterion/criterion.h>

using namespace nebula;

namespace {

Ending failed(std::string_view pushback = {}) {
  Ending ending{unavailable("no")};
  if (!pushback.empty()) ending.trailers.add("grpc-retry-pushback-ms", pushback);
  return ending;
}

std::string advice_of(const NestedShare& retries, Ending ending = failed()) {
  retries->advise(&ending);
  return std::string(ending.trailers.find("grpc-retry-pushback-ms").value_or("none"));
}

// What is said to the caller of all when a nested call has ended like that.
std::string advice_after(bool was_retried, const Ending& ending) {
  NestedShare retries = NestedRetries::make(any_retries);
  Context call(Time::never(), {});
  if (was_retried) call.set_retried();
  retries->on_failure(call, ending.trailers);
  return advice_of(retries);
}

}  // namespace

Test(nested_retries, are_taken_one_by_one_until_none_is_left) {
  NestedShare retries = NestedRetries::make(2);
  cr_assert(retries->take() && retries->left() == 1);
  cr_assert(retries->take() && retries->left() == 0);
  cr_assert(!retries->take() && !retries->take() && retries->left() == 0);
}

Test(nested_retries, have_no_end_where_the_caller_has_not_said_how_many_there_are) {
  NestedShare retries = NestedRetries::make(any_retries);
  for (int i = 0; i < 1'000; i++) cr_assert(retries->take());
  cr_assert_eq(retries->left(), any_retries);
}

Test(nested_retries, that_were_denied_keep_the_caller_from_another_try) {
  NestedShare retries = NestedRetries::make(1);
  cr_assert(retries->take() && advice_of(retries) == "none");
  cr_assert(!retries->take() && advice_of(retries) == "-1");
}

Test(nested_retries, that_were_in_vain_keep_the_caller_from_another_try) {
  cr_assert(advice_after(true, failed()) == "-1");
  cr_assert(advice_after(true, failed("20")) == "-1");
  cr_assert(advice_after(false, failed()) == "none", "there was none");
}

Test(nested_retries, that_were_in_vain_further_below_do_so_as_well) {
  cr_assert(advice_after(false, failed("-1")) == "-1");
  cr_assert(advice_after(false, failed("soon")) == "-1", "which is read as -1");
  cr_assert(advice_after(false, failed("0")) == "none");
}

Test(nested_retries, say_nothing_with_an_answer_or_where_the_handler_has_said_it) {
  NestedShare retries = NestedRetries::make(0);
  cr_assert(!retries->take());
  cr_assert(advice_of(retries, {}) == "none");
  cr_assert(advice_of(retries, failed("700")) == "700");
}
