// unit/rpc/frame_test.cc - the five bytes in front of a message, whole, cut, false.
#include "rpc/frame.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "kit/memory.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string framed(std::string_view message) { return std::string(frame_message(Bytes::copy(message)).view()); }

// A prefix that promises `size` bytes.
std::string prefix(uint32_t size, char flag = 0) {
  std::string text(1, flag);
  for (int shift = 24; shift >= 0; shift -= 8) text.push_back(static_cast<char>(size >> shift));
  return text;
}

// All messages that are whole after this chunk; stops at an error.
Status feed(FrameReader& reader, std::string_view chunk, std::vector<std::string>* messages) {
  reader.feed(Bytes::copy(chunk));
  while (true) {
    Result<std::optional<Frame>> next = reader.next();
    if (!next.ok()) return next.status();
    if (!next->has_value()) return {};
    messages->emplace_back((*next)->payload.view());
  }
}

}  // namespace

Test(frame, puts_the_prefix_into_the_headroom_of_a_message_it_owns_alone) {
  Bytes message = Bytes::copy("hello");
  const char* before = message.data();
  Bytes framed = frame_message(std::move(message));
  cr_assert_eq(framed.data(), before - frame_prefix_bytes, "the message was copied");
  cr_assert(framed.view() == prefix(5) + "hello");
}

Test(frame, copies_a_message_that_somebody_else_still_holds) {
  Bytes message = Bytes::copy("hello");
  Bytes kept = message;
  Bytes framed = frame_message(std::move(message));
  cr_assert(framed.data() != kept.data() - frame_prefix_bytes);
  cr_assert(framed.view() == prefix(5) + "hello");
  cr_assert(kept.view() == "hello");
}

Test(frame, copies_a_message_that_does_not_begin_its_block) {
  Bytes framed = frame_message(Bytes::copy("xhello").slice(1, 5));
  cr_assert(framed.view() == prefix(5) + "hello");
}

Test(frame, frames_the_front_of_a_block_in_place) {
  Bytes framed = frame_message(Bytes::copy("hello and more").slice(0, 5));
  cr_assert(framed.view() == prefix(5) + "hello");
}

Test(frame, frames_an_empty_message_with_and_without_a_block) {
  cr_assert(frame_message(Bytes()).view() == prefix(0));
  cr_assert(frame_message(Bytes::copy("")).view() == prefix(0));
}

Test(frame, writes_the_size_in_network_order) {
  std::string message(0x010203, 'm');
  cr_assert(framed(message).substr(0, 5) == std::string("\0\0\1\2\3", 5));
}

Test(frame, reads_a_message_that_lies_in_one_chunk_without_copying_it) {
  FrameReader reader(100);
  Bytes chunk = Bytes::copy(framed("hello"));
  const char* data = chunk.data();
  reader.feed(std::move(chunk));
  Result<std::optional<Frame>> message = reader.next();
  cr_assert(message.ok() && message->has_value());
  cr_assert_eq((*message)->payload.data(), data + frame_prefix_bytes);
}

Test(frame, reads_a_message_cut_at_every_byte) {
  std::string text = framed("hello");
  for (size_t cut = 0; cut <= text.size(); cut++) {
    FrameReader reader(100);
    std::vector<std::string> messages;
    cr_assert(feed(reader, text.substr(0, cut), &messages).ok());
    cr_assert_eq(messages.size(), cut == text.size() ? 1 : 0, "cut at %zu", cut);
    cr_assert_eq(reader.is_inside(), cut > 0 && cut < text.size(), "cut at %zu", cut);
    cr_assert(feed(reader, text.substr(cut), &messages).ok());
    cr_assert_eq(messages.size(), 1, "cut at %zu", cut);
    cr_assert(messages[0] == "hello");
    cr_assert(!reader.is_inside());
  }
}

Test(frame, reads_messages_that_come_byte_by_byte) {
  std::string text = framed("one") + framed("") + framed("three");
  FrameReader reader(100);
  std::vector<std::string> messages;
  for (char byte : text) cr_assert(feed(reader, {&byte, 1}, &messages).ok());
  cr_assert(messages == std::vector<std::string>({"one", "", "three"}));
}

Test(frame, reads_an_empty_message) {
  FrameReader reader(100);
  std::vector<std::string> messages;
  cr_assert(feed(reader, framed(""), &messages).ok());
  cr_assert(messages == std::vector<std::string>({""}));
  cr_assert(!reader.is_inside());
}

Test(frame, reads_several_messages_and_a_half_of_one_chunk) {
  FrameReader reader(100);
  std::vector<std::string> messages;
  cr_assert(feed(reader, framed("one") + framed("") + framed("three") + framed("four").substr(0, 7), &messages).ok());
  cr_assert(messages == std::vector<std::string>({"one", "", "three"}));
  cr_assert(reader.is_inside());
  cr_assert(feed(reader, framed("four").substr(7) + framed("five"), &messages).ok());
  cr_assert_eq(messages.size(), 5);
  cr_assert(messages[3] == "four" && messages[4] == "five");
}

Test(frame, reads_a_large_message_from_many_chunks) {
  std::string message;
  for (size_t i = 0; i < 300'000; i++) message.push_back(static_cast<char>(i * 7 + i / 256));
  std::string text = framed(message) + framed("next");
  FrameReader reader(limits::message_bytes_max);
  std::vector<std::string> messages;
  for (size_t at = 0; at < text.size(); at += 10'007)
    cr_assert(feed(reader, std::string_view(text).substr(at, 10'007), &messages).ok());
  cr_assert_eq(messages.size(), 2);
  cr_assert(messages[0] == message);
  cr_assert(messages[1] == "next");
}

Test(frame, takes_a_message_of_exactly_the_limit) {
  FrameReader reader(5);
  std::vector<std::string> messages;
  cr_assert(feed(reader, framed("hello"), &messages).ok());
  cr_assert_eq(messages.size(), 1);
}

Test(frame, refuses_a_message_over_the_limit_as_soon_as_it_sees_the_prefix) {
  FrameReader reader(4);
  std::vector<std::string> messages;
  Status status = feed(reader, prefix(5), &messages);
  cr_assert_eq(status.code(), Code::resource_exhausted);
  cr_assert(status.message() == "a message of 5 bytes is over the limit of 4");
}

Test(frame, allocates_nothing_for_a_message_over_the_limit) {
  FrameReader reader(limits::message_bytes_max);
  reader.feed(Bytes::copy(prefix(0xffffffff)));
  size_t before = allocated_bytes();
  Result<std::optional<Frame>> message = reader.next();
  cr_assert_eq(message.status().code(), Code::resource_exhausted);
  cr_assert_leq(allocated_bytes(), before + 1024, "only the words of the error");
}

Test(frame, gives_a_lying_prefix_no_memory) {
  std::vector<std::unique_ptr<FrameReader>> readers;
  size_t before = allocated_bytes();
  for (int i = 0; i < 100; i++) {
    readers.push_back(std::make_unique<FrameReader>(limits::message_bytes_max));
    std::vector<std::string> messages;
    cr_assert(feed(*readers.back(), prefix(limits::message_bytes_max), &messages).ok());
    cr_assert(feed(*readers.back(), "a few bytes", &messages).ok());
  }
  cr_assert_lt(allocated_bytes() - before, 100u * 8192, "prefixes alone cost %zu bytes each",
               (allocated_bytes() - before) / 100);
}

Test(frame, holds_no_read_buffer_while_it_waits_for_more) {
  FrameReader reader(100'000, Encoding::gzip);
  Bytes buffer = Bytes::copy(prefix(9000, 1) + std::string(9000, 'm') + prefix(5));
  reader.feed(buffer);
  Result<std::optional<Frame>> frame = reader.next();
  cr_assert(frame.ok() && frame->has_value());
  cr_assert(buffer.block()->is_shared(), "there is more in it");
  Result<std::optional<Frame>> next = reader.next();
  cr_assert(next.ok() && !next->has_value());
  cr_assert(!buffer.block()->is_shared());
  cr_assert_eq((*frame)->payload.size(), 9000);
}

Test(frame, refuses_a_compressed_message) {
  FrameReader reader(100);
  std::vector<std::string> messages;
  Status status = feed(reader, prefix(5, 1) + "hello", &messages);
  cr_assert_eq(status.code(), Code::internal);
  cr_assert(status.message().find("compressed") != std::string_view::npos);
}

Test(frame, can_be_destroyed_inside_a_message) {
  FrameReader reader(100);
  std::vector<std::string> messages;
  cr_assert(feed(reader, framed("hello").substr(0, 8), &messages).ok());
}
