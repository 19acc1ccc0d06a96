// rpc/zstd.cc - "zstd" by libzstd (RFC 8878): smaller than gzip at a fraction of its cost.
#include <zstd.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/limits.h"
#include "rpc/compress.h"

namespace nebula::zstd {

namespace {

constexpr size_t scratch_bytes = 16 << 10;

struct Free {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
using Context = std::unique_ptr<ZSTD_DCtx, Free>;

std::optional<size_t> size_told(std::string_view packed) {
  unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) return std::nullopt;
  return size;
}

Status broken(std::string_view why) { return internal("a message is not valid zstd: " + std::string(why)); }

// By inflating it into nowhere, up to one byte over the limit: only encoders that did not know it leave it out.
Result<size_t> size_counted(ZSTD_DCtx* context, std::string_view packed, size_t size_max) {
  char scratch[scratch_bytes];
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  size_t size = 0;
  for (size_t left = 1; left != 0;) {  // 0: that was the whole frame
    ZSTD_outBuffer out{scratch, std::min(sizeof scratch, size_max + 1 - size), 0};
    left = ZSTD_decompressStream(context, &out, &in);
    size += out.pos;
    if (ZSTD_isError(left)) return broken(ZSTD_getErrorName(left));
    if (size > size_max) return too_large_inflated(size_max);
    if (left != 0 && in.pos == in.size && out.pos < out.size) return broken("it ends too early");
  }
  return size;
}

}  // namespace

std::optional<Bytes> compress(std::string_view message) {
  Block* packed = Block::make(message.size());
  if (packed == nullptr) return std::nullopt;
  size_t size =
      ZSTD_compress(packed->data(), message.size() - 1, message.data(), message.size(), ZSTD_CLEVEL_DEFAULT);
  bool is_smaller = !ZSTD_isError(size);
  packed->set_size(is_smaller ? size : 0);
  Bytes bytes = Bytes::adopt(packed);
  if (!is_smaller) return std::nullopt;
  return Bytes::copy(bytes.view());  // without the rest of the block
}

Result<Bytes> inflate(std::string_view packed, size_t size_max) {
  Context context(ZSTD_createDCtx());
  if (context == nullptr) return broken("there is no memory for it");
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, limits::zstd_window_bits_max);
  std::optional<size_t> size = size_told(packed);
  if (!size) {
    TRY(size, size_counted(context.get(), packed, size_max));
    ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
  }
  if (*size > size_max) return too_large_inflated(size_max);  // or it lies, and is broken
  size_t packed_size = ZSTD_findFrameCompressedSize(packed.data(), packed.size());
  if (ZSTD_isError(packed_size)) return broken(ZSTD_getErrorName(packed_size));
  if (packed_size < packed.size()) return broken("something follows its end");
  Block* block = Block::make(*size);
  if (block == nullptr) return broken("there is no memory for it");
  block->set_size(*size);
  Bytes message = Bytes::adopt(block);
  size_t result = ZSTD_decompressDCtx(context.get(), block->data(), *size, packed.data(), packed.size());
  if (ZSTD_isError(result)) return broken(ZSTD_getErrorName(result));
  return message.slice(0, result);
}

}  // namespace nebula::zstd
