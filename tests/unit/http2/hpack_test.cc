// unit/http2/hpack_test.cc - what is encoded is decoded, from memory or not.
#include "http2/hpack.h"

#include <criterion/criterion.h>

#include "base/random.h"
#include "kit/streams.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string encoded(HpackEncoder& encoder, const Metadata& head) {
  std::string text(HpackEncoder::bound(head), '\0');
  text.resize(encoder.encode(head, text.data()));
  return text;
}

// In pieces of that size.
Metadata decoded(HpackDecoder& decoder, std::string_view block, size_t size) {
  Metadata head;
  Field field;
  while (true) {
    std::string_view part = block.substr(0, size);
    block.remove_prefix(part.size());
    decoder.feed(part, block.empty());
    HpackDecoder::Step step;
    while ((step = decoder.next(&field)) == HpackDecoder::Step::field) head.add(field.name, field.value);
    if (step == HpackDecoder::Step::end) return head;
    cr_assert(step == HpackDecoder::Step::more);
  }
}

}  // namespace

Test(hpack, carries_heads_whatever_came_before) {
  Random random(1);
  HpackEncoder encoder;
  HpackDecoder decoder;
  for (int i = 0; i < 5000; i++) {
    Metadata head = random.chance(1, 2) ? request_head("/p/" + std::to_string(random.below(6))) : response_head();
    if (random.chance(1, 3)) head.add("grpc-timeout", std::to_string(random.below(10'000)) + "m");
    if (random.chance(1, 3)) head.add("x-word", std::string(random.below(random.chance(1, 20) ? 3000 : 9), 'x'));
    if (random.chance(1, 20)) head.add("grpc-message", std::string(random.below(300), 'm'));
    if (random.chance(1, 50))
      for (int n = 0; n < 40; n++) head.add("x-many", std::to_string(n));
    if (random.chance(1, 100)) encoder.limit_table(static_cast<uint32_t>(random.below(8192)));
    std::string block = encoded(encoder, head);
    cr_assert(decoded(decoder, block, 1 + random.below(100)).block() == head.block(), "head %d", i);
  }
}

Test(hpack, sends_what_does_not_vary_in_a_few_bytes) {
  HpackEncoder encoder;
  for (int i = 0; i < 3; i++) {
    Metadata head = response_head();
    std::string block = encoded(encoder, head);
    if (i > 0) cr_assert_eq(block.size(), 2, "each is known");
    Metadata trailers = fields({{"grpc-status", "0"}, {"grpc-message", std::to_string(i)}});
    block = encoded(encoder, trailers);
    if (i > 0) cr_assert_eq(block.size(), 1 + 1 + 13 + 2, "one is known, and the other never will be");
  }
}

Test(hpack, knows_which_blocks_leave_the_table_as_it_is) {
  using namespace std::string_view_literals;
  for (std::string_view block : {""sv, "\x82\x86"sv, "\xff\x80\x01"sv, "\x00\x01x\x01y"sv, "\x10\x01x\x01y\x82"sv, "\x04\x02/a"sv, "\x0f\x05\x01y"sv})
    cr_assert(leaves_table(block));
  for (std::string_view block : {"\x40\x01x\x01y"sv, "\x82\x41\x01y"sv, "\x20"sv, "\x3f\xe1\x1f"sv,
                                 // and those that are not whole
                                 "\xff"sv, "\x00"sv, "\x00\x02x"sv, "\x04\x7f"sv, "\xff\xff\xff\xff\xff\xff\xff"sv})
    cr_assert(!leaves_table(block));
}

Test(block_memo, finds_what_a_text_begins_with_and_keeps_a_few) {
  BlockMemo<int> memo;
  cr_assert(memo.find("abc") == nullptr);
  *memo.keep("ab") = 1;
  cr_assert(memo.find("abc")->value == 1 && memo.find("a") == nullptr);
  cr_assert(memo.keep("") == nullptr && memo.keep(std::string(5000, 'x')) == nullptr);
  for (int i = 0; i < 10; i++) *memo.keep("x" + std::to_string(i)) = i;
  int found = 0;
  for (int i = 0; i < 10; i++) {
    const BlockMemo<int>::Entry* entry = memo.find("x" + std::to_string(i) + "!");
    if (entry == nullptr) continue;
    cr_assert_eq(entry->value, i);
    found++;
  }
  cr_assert_eq(found, 4);
  memo.forget();
  cr_assert(memo.find("x9") == nullptr);
  *memo.keep("y") = 7;
  cr_assert(memo.find("y")->value == 7 && memo.find("x9") == nullptr);
}
