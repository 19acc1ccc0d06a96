// unit/base/bytes_test.cc - blocks and slices.
#include "base/bytes.h"

#include <criterion/criterion.h>

#include <cstring>
#include <string>

using namespace nebula;

Test(bytes, is_empty_of_no_block) {
  Bytes bytes;
  cr_assert(bytes.empty());
  cr_assert_null(bytes.block());
  cr_assert_eq(bytes.view(), "");
}

Test(bytes, counts_instead_of_copying) {
  Bytes bytes = Bytes::copy("hello world");
  cr_assert(not bytes.block()->is_shared());
  {
    Bytes other = bytes;
    cr_assert_eq(other.data(), bytes.data());
    cr_assert(bytes.block()->is_shared());
  }
  cr_assert(not bytes.block()->is_shared());
}

Test(bytes, holds_large_contents_as_well) {
  std::string text(9u << 20, 'x');
  text += "the end";
  Bytes end;
  {
    Bytes bytes = Bytes::copy(text);
    cr_assert(bytes.view() == text);
    end = bytes.slice(text.size() - 7, 7);
  }
  cr_assert_eq(end.view(), "the end");
}

Test(bytes, shares_the_block_with_its_slices) {
  Bytes slice;
  {
    Bytes bytes = Bytes::copy("hello world");
    slice = bytes.slice(6, 5);
    cr_assert_eq(slice.data(), bytes.data() + 6);
  }
  cr_assert_eq(slice.view(), "world", "a slice keeps the block");
  cr_assert(slice.slice(5, 0).empty());
}

Test(bytes, leaves_nothing_behind_when_moved) {
  Bytes bytes = Bytes::copy("x");
  Bytes moved = std::move(bytes);
  cr_assert(bytes.empty());
  cr_assert_eq(moved.view(), "x");
  cr_assert(not moved.block()->is_shared());
}

Test(bytes, survives_assignment_to_itself) {
  Bytes bytes = Bytes::copy("x");
  Bytes& self = bytes;
  bytes = self;
  cr_assert_eq(bytes.view(), "x");
}

Test(bytes, leaves_room_in_front_for_a_header) {
  Block* block = Block::make(4);
  std::memset(block->data() - Block::headroom, 'h', Block::headroom);
  std::memcpy(block->data(), "body", 4);
  block->set_size(4);
  cr_assert_eq(Bytes::adopt(block).view(), "body");
}

Test(bytes, copies_nothing_into_an_empty_block) { cr_assert(Bytes::copy("").empty()); }
