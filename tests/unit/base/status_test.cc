// unit/base/status_test.cc - outcomes and results.
#include "base/status.h"

#include <criterion/criterion.h>

#include <cerrno>

#include "base/result.h"

using namespace nebula;

Test(status, is_ok_and_one_word_unless_it_says_otherwise) {
  Status status;
  cr_assert(status.ok());
  cr_assert_eq(status.code(), Code::ok);
  cr_assert_eq(status.text(), "OK");
  cr_assert_eq(sizeof status, sizeof(void*));
}

Test(status, carries_a_code_and_a_sentence) {
  Status status = unavailable("dial unix:/x: refused");
  cr_assert(not status.ok());
  cr_assert_eq(status.text(), "UNAVAILABLE: dial unix:/x: refused");
}

Test(status, copies_and_moves) {
  Status status = cancelled("why");
  Status copy = status;
  Status moved = std::move(status);
  cr_assert_eq(copy.text(), "CANCELLED: why");
  cr_assert_eq(moved.text(), copy.text());
  copy = Status();
  cr_assert(copy.ok());
  Status& self = moved;
  moved = self;
  cr_assert_eq(moved.message(), "why");
}

Test(status, gains_context_where_the_name_is_known) {
  cr_assert_eq(internal("lost").with_context("call a").text(), "INTERNAL: call a: lost");
  cr_assert(Status().with_context("call a").ok());
}

Test(status, knows_the_names_of_all_codes) {
  cr_assert_eq(code_name(Code::deadline_exceeded), "DEADLINE_EXCEEDED");
  cr_assert_eq(code_name(Code::unauthenticated), "UNAUTHENTICATED");
  cr_assert_eq(code_name(static_cast<Code>(99)), "UNKNOWN");
}

Test(status, sorts_errors_of_the_system) {
  cr_assert_eq(system_error("open a", ENOENT).text(), "NOT_FOUND: open a: No such file or directory");
  cr_assert_eq(system_error("x", EACCES).code(), Code::permission_denied);
  cr_assert_eq(system_error("x", EMFILE).code(), Code::resource_exhausted);
  cr_assert_eq(system_error("x", ECONNREFUSED).code(), Code::unavailable);
}

namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return invalid_argument("odd");
  return number / 2;
}

Result<int> quarter(int number) {
  TRY(int once, half(number));
  TRY(int twice, half(once));
  return twice;
}

}  // namespace

Test(result, holds_a_value_or_the_reason_why_not) {
  cr_assert_eq(*quarter(8), 2);
  cr_assert_eq(quarter(6).status().message(), "odd");
}
