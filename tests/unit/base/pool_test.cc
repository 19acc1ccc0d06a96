// unit/base/pool_test.cc - what is given is taken again, up to a bound.
#include "base/pool.h"

#include <criterion/criterion.h>

#include <cstring>
#include <vector>

using namespace nebula;

Test(pool, takes_again_what_was_given_for_a_like_size) {
  Pool pool;
  void* block = pool.take(100);
  std::memset(block, 1, 100);
  pool.give(block, 100);
  cr_assert_eq(pool.free_bytes(), 128);
  void* other = pool.take(200);
  cr_assert_neq(other, block);
  void* same = pool.take(128);
  cr_assert_eq(same, block);
  std::memset(same, 2, 128);
  cr_assert_eq(pool.free_bytes(), 0);
  pool.give(same, 128);
  pool.give(other, 200);
  pool.clear();
  cr_assert_eq(pool.free_bytes(), 0);
}

Test(pool, keeps_no_large_block_and_no_more_than_its_bound) {
  Pool pool;
  std::vector<void*> blocks;
  for (size_t bytes = 0; bytes <= 2 * limits::pool_bytes_max; bytes += Pool::block_bytes_max)
    blocks.push_back(pool.take(Pool::block_bytes_max));
  for (void* block : blocks) pool.give(block, Pool::block_bytes_max);
  cr_assert_eq(pool.free_bytes(), limits::pool_bytes_max);
  pool.clear();
  size_t large = Pool::block_bytes_max + 1;
  pool.give(pool.take(large), large);
  cr_assert_eq(pool.free_bytes(), 0);
}

Test(pool, keeps_nothing_if_it_may_not) {
  Pool pool(0);
  pool.give(pool.take(1), 1);
  cr_assert_eq(pool.free_bytes(), 0);
}
