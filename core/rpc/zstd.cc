// rpc/zstd.cc - "zstd" by libzstd (RFC 8878): smaller than gzip at a fraction of its cost.
#include <zstd.h>

#include <memory>
#include <string>

#include "base/limits.h"
#include "rpc/compress.h"
#include "rpc/inflated.h"

namespace nebula::zstd {

namespace {

struct Free {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

std::optional<size_t> size_told(std::string_view packed) {
  unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) return std::nullopt;
  return size;
}

Status broken(std::string_view why) { return internal("a message is not valid zstd: " + std::string(why)); }

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
  std::optional<size_t> told = size_told(packed);
  if (told > size_max) return Inflated::too_large(size_max);  // or it lies, and is broken
  std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (context == nullptr) return broken("there is no memory for it");
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, limits::zstd_window_bits_max);
  Inflated out(packed.size(), size_max);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  size_t left = 1;  // 0: that was the whole frame
  while (left != 0) {
    char* room = out.room();
    ZSTD_outBuffer to{room, out.room_size(), 0};
    left = ZSTD_decompressStream(context.get(), &to, &in);
    out.add(to.pos);
    if (ZSTD_isError(left)) return broken(ZSTD_getErrorName(left));
    if (out.is_over()) return Inflated::too_large(size_max);
    if (left != 0 && in.pos == in.size && to.pos < to.size) return broken("it ends too early");
  }
  if (in.pos < in.size) return broken("something follows its end");
  return out.take();
}

}  // namespace nebula::zstd
