// unit/base/fn_test.cc - callables that move.
#include "base/fn.h"

#include <criterion/criterion.h>

#include <array>
#include <memory>

using namespace nebula;

namespace {

struct Counted {
  static inline int alive = 0;
  Counted() { alive++; }
  Counted(const Counted&) { alive++; }
  Counted(Counted&&) noexcept { alive++; }
  ~Counted() { alive--; }
};

}  // namespace

Test(fn, is_empty_until_it_is_given_something) {
  Fn<void()> fn;
  cr_assert(not fn);
  fn = [] {};
  cr_assert(static_cast<bool>(fn));
  fn = nullptr;
  cr_assert(not fn);
}

Test(fn, carries_what_only_moves) {
  Fn<int(int)> add = [base = std::make_unique<int>(40)](int more) { return *base + more; };
  Fn<int(int)> moved = std::move(add);
  cr_assert(not add);
  cr_assert_eq(moved(2), 42);
}

Test(fn, passes_arguments_that_only_move) {
  Fn<int(std::unique_ptr<int>)> take = [](std::unique_ptr<int> value) { return *value; };
  cr_assert_eq(take(std::make_unique<int>(7)), 7);
}

Test(fn, destroys_its_callable_once_small_or_large) {
  {
    Fn<void()> small = [counted = Counted()] {};
    Fn<void()> large = [counted = Counted(), ballast = std::array<char, 100>()] {};
    Fn<void()> moved = std::move(small);
    large = std::move(moved);
    cr_assert_eq(Counted::alive, 1);
    moved = [counted = Counted(), ballast = std::array<char, 100>()] {};
    std::swap(moved, large);
    cr_assert_eq(Counted::alive, 2);
  }
  cr_assert_eq(Counted::alive, 0);
}

Test(fn, survives_a_move_to_itself) {
  Fn<int()> fn = [] { return 7; };
  Fn<int()>& self = fn;
  fn = std::move(self);
  cr_assert_eq(fn(), 7);
}

Test(fn, keeps_state_between_calls) {
  Fn<int()> next = [count = 0]() mutable { return ++count; };
  next();
  cr_assert_eq(next(), 2);
}
