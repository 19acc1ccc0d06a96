// unit/service/registry/names_test.cc - which names are allowed.
#include <criterion/criterion.h>

#include <string>

#include "base/limits.h"
#include "service/registry/registry.h"

using namespace nebula;

Test(registry_names, accepts_letters_digits_and_a_few_signs) {
  for (const char* name : {"hello", "shop.Cart", "a-b_c.D9", "9"}) cr_assert(check_service_name(name).ok(), "%s", name);
}

Test(registry_names, says_what_is_wrong_with_a_bad_one) {
  for (const char* name : {"", ".hidden", "a/b", "a b", "hell\xc3\xb6"}) {
    Status status = check_service_name(name);
    cr_assert_eq(status.code(), Code::invalid_argument, "%s", name);
    cr_assert_neq(std::string(status.message()).find(name), std::string::npos);
  }
  cr_assert(!check_service_name(std::string(limits::service_name_max + 1, 'a')).ok());
  cr_assert(check_service_name(std::string(limits::service_name_max, 'a')).ok());
}
