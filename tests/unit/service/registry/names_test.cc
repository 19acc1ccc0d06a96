// unit/service/registry/names_test.cc - which names are allowed, and which look alike.
#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "service/registry/registry.h"

using namespace nebula;

using Names = std::vector<std::string>;

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

Test(registry_names, finds_a_typo) {
  cr_assert(similar_names("helo", {"hello", "world"}) == Names{"hello"});
  cr_assert(similar_names("hlelo", {"hello", "world"}) == Names{"hello"});
  cr_assert(similar_names("Hello", {"hello"}) == Names{"hello"});
}

Test(registry_names, finds_the_same_last_part_and_a_longer_name) {
  cr_assert(similar_names("Cart", {"shop.Cart", "shop.Order"}) == Names{"shop.Cart"});
  cr_assert(similar_names("shop", {"shop.Cart", "clock"}) == Names{"shop.Cart"});
}

Test(registry_names, puts_the_nearest_first_and_stops_at_three) {
  Names found = similar_names("order", {"orders", "order-v2", "other.order", "ordre", "odrers", "price"});
  cr_assert_eq(found.size(), 3u);
  cr_assert(found[0] == "orders" || found[0] == "ordre");
}

Test(registry_names, finds_nothing_in_other_words) {
  cr_assert(similar_names("price", {"order", "shop.Cart", "x"}).empty());
  cr_assert(similar_names("price", {"price"}).empty());
}
