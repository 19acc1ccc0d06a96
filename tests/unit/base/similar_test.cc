// unit/base/similar_test.cc - names that look alike, and the words for them.
#include "base/similar.h"

#include <criterion/criterion.h>

using namespace nebula;

using Names = std::vector<std::string>;

Test(similar, finds_a_typo) {
  cr_assert(similar_names("helo", {"hello", "world"}) == Names{"hello"});
  cr_assert(similar_names("hlelo", {"hello", "world"}) == Names{"hello"});
  cr_assert(similar_names("Hello", {"hello"}) == Names{"hello"});
}

Test(similar, finds_the_same_last_part_and_a_longer_name) {
  cr_assert(similar_names("Cart", {"shop.Cart", "shop.Order"}) == Names{"shop.Cart"});
  cr_assert(similar_names("shop", {"shop.Cart", "clock"}) == Names{"shop.Cart"});
}

Test(similar, puts_the_nearest_first_and_stops_at_three) {
  Names found = similar_names("order", {"orders", "order-v2", "other.order", "ordre", "odrers", "price"});
  cr_assert_eq(found.size(), 3u);
  cr_assert(found[0] == "orders" || found[0] == "ordre");
}

Test(similar, finds_nothing_in_other_words) {
  cr_assert(similar_names("price", {"order", "shop.Cart", "x"}).empty());
  cr_assert(similar_names("price", {"price"}).empty());
}

Test(similar, are_the_end_of_a_sentence) {
  cr_assert(did_you_mean({}).empty());
  cr_assert(did_you_mean({"a"}) == "; did you mean \"a\"?");
  cr_assert(did_you_mean({"a", "b", "c"}) == "; did you mean \"a\", \"b\" or \"c\"?");
}
