// unit/base/fifo_test.cc - in order, whatever it does with its memory.
#include "base/fifo.h"

#include <criterion/criterion.h>

#include <memory>

using namespace nebula;

Test(fifo, gives_back_in_order_while_it_grows_and_shrinks) {
  Fifo<std::unique_ptr<int>, 64> fifo;
  int pushed = 0, popped = 0;
  for (int round = 1; round < 200; round++) {
    for (int i = 0; i < round % 37; i++) fifo.push(std::make_unique<int>(pushed++));
    for (int i = 0; i < round % 31 && !fifo.empty(); i++) {
      cr_assert_eq(*fifo.front(), popped);
      cr_assert_eq(*fifo.pop(), popped++);
    }
    cr_assert_eq(fifo.size(), static_cast<size_t>(pushed - popped));
  }
  while (!fifo.empty()) cr_assert_eq(*fifo.pop(), popped++);
  cr_assert_eq(pushed, popped);
}

Test(fifo, lets_go_of_what_is_taken_and_of_what_is_cleared) {
  std::shared_ptr<int> item = std::make_shared<int>(1);
  Fifo<std::shared_ptr<int>> fifo;
  for (int i = 0; i < 3; i++) fifo.push(item);
  cr_assert_eq(item.use_count(), 4);
  static_cast<void>(fifo.pop());
  cr_assert_eq(item.use_count(), 3);
  fifo.clear();
  cr_assert(fifo.empty());
  cr_assert_eq(item.use_count(), 1);
}

namespace {

int moves;

struct Moved {
  Moved() = default;
  Moved(Moved&&) noexcept { moves++; }
  Moved& operator=(Moved&&) noexcept {
    moves++;
    return *this;
  }
};

}  // namespace

Test(fifo, moves_each_a_few_times_though_it_is_never_empty) {
  Fifo<Moved, 4096> fifo;
  for (int i = 0; i < 100; i++) fifo.push({});
  moves = 0;
  for (int i = 0; i < 10000; i++) {
    fifo.push({});
    static_cast<void>(fifo.pop());
  }
  cr_assert_lt(moves, 10000 * 5, "%d", moves);
}
