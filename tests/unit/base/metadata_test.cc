// unit/base/metadata_test.cc - the flat block of names and values.
#include "base/metadata.h"

#include <criterion/criterion.h>

#include <cstring>

using namespace nebula;

namespace {

std::string field(uint32_t name_size, uint32_t value_size, std::string_view rest) {
  std::string block(8, '\0');
  std::memcpy(block.data(), &name_size, 4);
  std::memcpy(block.data() + 4, &value_size, 4);
  return block.append(rest);
}

Status refusal(std::string_view block) { return Metadata::from_user(block.data(), block.size()).status(); }

}  // namespace

Test(metadata, keeps_fields_in_order) {
  Metadata metadata;
  cr_assert(metadata.empty());
  metadata.add("b", "1");
  metadata.add("a", "");
  metadata.add("b", "2");
  std::string all;
  for (Field field : metadata) all.append(field.name).append("=").append(field.value).append(";");
  cr_assert_eq(all, "b=1;a=;b=2;");
  cr_assert_eq(metadata.count(), 3);
  cr_assert(metadata.find("b") == "1");
  cr_assert(metadata.find("a") == "");
  cr_assert(not metadata.find("c"));
}

Test(metadata, counts_as_http2_does) {
  Metadata metadata;
  metadata.add("name", "value");
  metadata.add("x", "");
  cr_assert_eq(metadata.list_size(), 4 + 5 + 32 + 1 + 32);
}

Test(metadata, takes_its_own_block_back) {
  Metadata metadata;
  metadata.add("key", "value");
  metadata.add("raw-bin", std::string_view("\0\xff", 2));
  Result<Metadata> again = Metadata::from_user(metadata.block().data(), metadata.block().size());
  cr_assert(again.ok());
  cr_assert(again->find("raw-bin") == std::string_view("\0\xff", 2));
  cr_assert_eq(again->count(), 2);
}

Test(metadata, refuses_a_block_whose_sizes_do_not_add_up) {
  cr_assert_eq(refusal("abc").code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(3, 1, "key")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(0xffffffff, 0xffffffff, "key")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(3, 0, "keyx")).code(), Code::invalid_argument);
}

Test(metadata, refuses_names_and_values_that_grpc_does_not_allow) {
  cr_assert_eq(refusal(field(3, 0, "Key")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(0, 1, "x")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(3, 0, "a b")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(5, 0, ":path")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(9, 0, "grpc-test")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(19, 1, "nebula-retries-left2")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(1, 2, "a\r\n")).code(), Code::invalid_argument);
  cr_assert_eq(refusal(field(1, 1, "a\x80")).code(), Code::invalid_argument);
  cr_assert(refusal("").ok(), "an empty block is empty metadata");
}

Test(metadata, knows_binary_names) {
  cr_assert(is_binary("trace-bin"));
  cr_assert(not is_binary("bin"));
  cr_assert(not is_binary("trace-bin2"));
}

Test(metadata, shares_its_block_with_a_copy_until_one_changes) {
  Metadata one;
  one.add("a", "1");
  Metadata other = one;
  cr_assert_eq(other.block().data(), one.block().data());
  other.add("b", "2");
  cr_assert_eq(one.count(), 1);
  cr_assert_eq(other.count(), 2);
  cr_assert_not(one.find("b").has_value());
  cr_assert(other.find("a") == "1" && other.find("b") == "2");
  one.add("c", "3");
  cr_assert_not(other.find("c").has_value());
}

Test(metadata, holds_what_outgrows_its_first_room) {
  Metadata metadata;
  for (int i = 0; i < 100; i++) metadata.add(std::to_string(i), std::string(static_cast<size_t>(i), 'x'));
  int i = 0;
  for (Field field : metadata) {
    cr_assert(field.name == std::to_string(i));
    cr_assert_eq(field.value.size(), static_cast<size_t>(i++));
  }
  cr_assert_eq(i, 100);
}
