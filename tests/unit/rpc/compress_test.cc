// unit/rpc/compress_test.cc - each encoding there and back, and all that a stranger may send in its name.
#include "rpc/compress.h"

#include <criterion/criterion.h>
#include <zstd.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "base/random.h"
#include "kit/memory.h"
#include "kit/world.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

constexpr Encoding encodings[] = {Encoding::gzip, Encoding::zstd};

std::string packed(Encoding encoding, std::string_view message) {
  std::optional<Bytes> bytes = compress(encoding, message);
  cr_assert(bytes.has_value());
  cr_assert_lt(bytes->size(), message.size());
  return std::string(bytes->view());
}

// "OK", or what is wrong.
std::string inflating(Encoding encoding, std::string_view bytes, size_t size_max = 1 << 20) {
  return inflate(encoding, bytes, size_max).status().text();
}

// Text that shrinks to about a third, as messages do.
std::string text(Random& random, size_t size) {
  static constexpr std::string_view words[] = {"name: ", "price: ", "amount: ", "shop.v1.Cart", "\n", "{", "}", "42", "7", "é"};
  std::string text;
  while (text.size() < size) text.append(words[random.below(std::size(words))]);
  text.resize(size);
  return text;
}

}  // namespace

Test(compress, gives_back_messages_of_every_size) {
  Random random(seed(1));
  for (Encoding encoding : encodings) {
    for (size_t size : {100, 512, 513, 4096, 70'000, 1'000'000}) {
      std::string message = text(random, size);
      std::string small = packed(encoding, message);
      Result<Bytes> back = inflate(encoding, small, size);
      cr_assert(back.ok(), "%s, %zu bytes: %s", name_of(encoding).data(), size, back.status().text().c_str());
      cr_assert((*back).view() == message);
      cr_assert((*inflate(encoding, small, 100 * size)).view() == message, "the limit is only a limit");
    }
    std::string zeros(4 << 20, 0);
    cr_assert((*inflate(encoding, packed(encoding, zeros), zeros.size())).view() == zeros);
  }
}

Test(compress, leaves_a_message_alone_that_would_not_get_smaller) {
  Random random(seed(2));
  std::string noise(10'000, 0);
  for (char& c : noise) c = static_cast<char>(random.below(256));
  for (Encoding encoding : encodings)
    for (std::string_view message : {std::string_view(), std::string_view("a"), std::string_view("hello"), std::string_view(noise)})
      cr_assert(!compress(encoding, message).has_value());
}

Test(compress, allows_a_message_of_the_limit_and_none_of_a_byte_more) {
  for (Encoding encoding : encodings) {
    std::string small = packed(encoding, std::string(1000, 'm'));
    cr_assert(inflating(encoding, small, 1000) == "OK");
    cr_assert(inflating(encoding, small, 999) ==
              "RESOURCE_EXHAUSTED: a compressed message is larger than the limit of 999 bytes");
    cr_assert(inflating(encoding, small, 0).starts_with("RESOURCE_EXHAUSTED"));
  }
}

// What it says of its size is a bound, never memory: over the limit it is not looked at, under it no more comes out.
Test(compress, stops_a_bomb_that_lies_about_its_size_at_the_lie) {
  std::string honest = packed(Encoding::gzip, std::string(10 << 20, 0));
  for (uint32_t told : {0u, 1u, 1000u}) {
    std::string bomb = honest;
    for (int i = 0; i < 4; i++) bomb[bomb.size() - 4 + i] = static_cast<char>(told >> 8 * i);
    cr_assert(inflating(Encoding::gzip, bomb, 1000) ==
              "INTERNAL: a message is not valid gzip: it is larger than it says");
  }
  std::string boaster = packed(Encoding::gzip, std::string(500, 'm'));
  boaster.back() = 0x7f;
  size_t before = allocated_bytes();
  cr_assert(inflating(Encoding::gzip, boaster).starts_with("RESOURCE_EXHAUSTED"));
  cr_assert_leq(allocated_bytes(), before + 1024);
}

Test(compress, stops_a_bomb_that_does_not_tell_its_size) {
  std::string zeros(10 << 20, 0), bomb(1 << 20, 0);
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  size_t size = ZSTD_compress2(context, bomb.data(), bomb.size(), zeros.data(), zeros.size());
  ZSTD_freeCCtx(context);
  cr_assert(!ZSTD_isError(size));
  bomb.resize(size);
  cr_assert_eq(ZSTD_getFrameContentSize(bomb.data(), bomb.size()), ZSTD_CONTENTSIZE_UNKNOWN);
  cr_assert(inflating(Encoding::zstd, bomb, 1000) ==
            "RESOURCE_EXHAUSTED: a compressed message is larger than the limit of 1000 bytes");
  cr_assert(inflating(Encoding::zstd, bomb, zeros.size()) == "OK");
}

Test(compress, refuses_a_zstd_frame_that_wants_too_much_to_be_remembered) {
  for (int bits : {limits::zstd_window_bits_max, limits::zstd_window_bits_max + 1}) {
    // A window is that large only where the frame does not say that it is small.
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, bits);
    std::string frame(1000, 0);
    ZSTD_inBuffer in{"hello", 5, 0};
    ZSTD_outBuffer out{frame.data(), frame.size(), 0};
    ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush);
    ZSTD_compressStream2(context, &out, &in, ZSTD_e_end);
    ZSTD_freeCCtx(context);
    frame.resize(out.pos);
    std::string end = inflating(Encoding::zstd, frame);
    cr_assert(end == (bits == limits::zstd_window_bits_max
                          ? "OK"
                          : "INTERNAL: a message is not valid zstd: Frame requires too much memory for decoding"),
              "%s", end.c_str());
  }
}

Test(compress, finds_a_message_that_ends_too_early_or_too_late) {
  Random random(seed(3));
  for (Encoding encoding : encodings) {
    std::string whole = packed(encoding, text(random, 500));
    for (size_t size = 0; size < whole.size(); size++) {
      std::string end = inflating(encoding, std::string(whole.data(), size));
      // A piece may read as a size over the limit; what it never is is a message.
      cr_assert(end.starts_with("INTERNAL") || end.starts_with("RESOURCE_EXHAUSTED"), "%zu: %s", size, end.c_str());
    }
    cr_assert(inflating(encoding, whole + std::string("\0\0\0\0", 4)).starts_with("INTERNAL"));
    cr_assert(inflating(encoding, whole + whole).ends_with("something follows its end"), "one message, one frame");
  }
}

Test(compress, finds_a_message_that_is_changed) {
  Random random(seed(4));
  for (Encoding encoding : encodings) {
    std::string message = text(random, 500), whole = packed(encoding, message);
    for (size_t bit = 0; bit < 8 * whole.size(); bit++) {
      std::string changed = whole;
      changed[bit / 8] ^= static_cast<char>(1 << bit % 8);
      Result<Bytes> back = inflate(encoding, changed, 1 << 20);
      if (!back.ok()) {
        cr_assert(back.status().code() == Code::internal || back.status().code() == Code::resource_exhausted);
        continue;
      }
      // The head of gzip has fields that mean nothing here; zstd frames have a checksum only where one is asked for.
      if (encoding == Encoding::gzip) cr_assert((*back).view() == message, "bit %zu", bit);
    }
    cr_assert(inflating(encoding, "this is no frame of any kind").starts_with("INTERNAL: a message is not valid"));
    cr_assert(inflating(encoding, "").starts_with("INTERNAL: a message is not valid"));
  }
}

Test(compress, agrees_with_a_peer_on_what_both_know) {
  struct Row {
    Encoding wanted;
    std::string_view accepted;
    Encoding agreed;
  };
  for (const Row& row : {
           Row{Encoding::identity, "identity,gzip,zstd", Encoding::identity},
           Row{Encoding::gzip, "identity,gzip,zstd", Encoding::gzip},
           Row{Encoding::zstd, "identity,gzip,zstd", Encoding::zstd},
           Row{Encoding::zstd, "identity, deflate, gzip", Encoding::gzip},  // gRPC's C-core
           Row{Encoding::gzip, "zstd , gzip ", Encoding::gzip},
           Row{Encoding::gzip, "", Encoding::identity},
           Row{Encoding::gzip, "identity", Encoding::identity},
           Row{Encoding::gzip, "gzipped,,snappy", Encoding::identity},
       })
    cr_assert_eq(agree(row.wanted, row.accepted), row.agreed, "%s", row.accepted.data());
  cr_assert(encoding_of("deflate") == std::nullopt);
  cr_assert(encoding_of("") == std::nullopt);
  for (Encoding encoding : encodings) cr_assert(encoding_of(name_of(encoding)) == encoding);
}
