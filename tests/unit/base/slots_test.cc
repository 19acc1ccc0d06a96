// unit/base/slots_test.cc - ids that never find something else.
#include "base/slots.h"

#include <criterion/criterion.h>

#include <memory>
#include <unordered_set>

using namespace nebula;

Test(slots, finds_what_was_added) {
  Slots<int> slots;
  uint64_t a = slots.add(1), b = slots.add(2);
  cr_assert_neq(a, 0);
  cr_assert_neq(a, b);
  cr_assert_eq(*slots.find(a), 1);
  cr_assert_eq(*slots.find(b), 2);
  cr_assert_eq(slots.size(), 2);
}

Test(slots, finds_nothing_by_a_stale_or_made_up_id) {
  Slots<int> slots;
  uint64_t id = slots.add(1);
  cr_assert(slots.remove(id));
  cr_assert_null(slots.find(id));
  cr_assert(not slots.remove(id));
  cr_assert_null(slots.find(0));
  cr_assert_null(slots.find(~uint64_t{0}));
  cr_assert_null(slots.find(12345));
}

Test(slots, never_gives_an_id_twice_in_a_long_life) {
  Slots<int> slots;
  std::unordered_set<uint64_t> given;
  for (int i = 0; i < 100000; i++) {
    uint64_t id = slots.add(i);
    cr_assert(given.insert(id).second);
    cr_assert_lt(id, uint64_t{1} << 53, "a JavaScript number holds it");
    slots.remove(id);
  }
  cr_assert_eq(slots.size(), 0);
}

Test(slots, lets_go_of_what_was_removed) {
  Slots<std::shared_ptr<int>> slots;
  std::shared_ptr<int> value = std::make_shared<int>(1);
  uint64_t id = slots.add(value);
  cr_assert_eq(value.use_count(), 2);
  slots.remove(id);
  cr_assert_eq(value.use_count(), 1);
}

Test(slots, keeps_its_objects_where_they_are) {
  Slots<int> slots;
  int* first = slots.find(slots.add(7));
  for (int i = 0; i < 10000; i++) slots.add(i);
  cr_assert_eq(*first, 7);
}
