// rpc/gzip.cc - "gzip" by zlib (RFC 1952): the encoding that every gRPC knows.
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <string>

#include "rpc/compress.h"

namespace nebula::gzip {

namespace {

constexpr int as_gzip = 16;  // added to the bits of the window: zlib's way to ask for that format
constexpr int window_bits_min = 9, window_bits_max = 15;
constexpr int window_bits_over_memory = 7;  // zlib's defaults are a window of 15 bits and a memory level of 8
constexpr size_t header_bytes = 10, trailer_bytes = 8;

// A stream of zlib and its end.
struct Stream : z_stream {
  Stream(std::string_view input, int (*end)(z_stream*)) : z_stream{}, end_(end) {
    next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));  // which zlib only reads
    avail_in = static_cast<uInt>(input.size());
  }
  ~Stream() { end_(this); }

  void write_to(char* room, size_t size) {
    next_out = reinterpret_cast<Bytef*>(room);
    avail_out = static_cast<uInt>(size);
  }

 private:
  int (*end_)(z_stream*);
};

// The last four bytes are the size, modulo 2^32.
size_t size_told(std::string_view packed) {
  size_t size = 0;
  for (size_t i = 1; i <= 4; i++) size = size << 8 | static_cast<unsigned char>(packed[packed.size() - i]);
  return size;
}

Status broken(std::string_view why) { return internal("a message is not valid gzip: " + std::string(why)); }

}  // namespace

std::optional<Bytes> compress(std::string_view message) {
  // A window no larger than the message: zlib clears up to 256 KiB for each stream, which a small one does not need.
  int bits = std::clamp(static_cast<int>(std::bit_width(message.size())), window_bits_min, window_bits_max);
  Stream stream(message, deflateEnd);
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, bits + as_gzip, bits - window_bits_over_memory,
                   Z_DEFAULT_STRATEGY) != Z_OK)
    return std::nullopt;
  Block* packed = Block::make(message.size());
  if (packed == nullptr) return std::nullopt;
  stream.write_to(packed->data(), message.size() - 1);
  bool is_smaller = deflate(&stream, Z_FINISH) == Z_STREAM_END;
  packed->set_size(stream.total_out);
  Bytes bytes = Bytes::adopt(packed);
  if (!is_smaller) return std::nullopt;
  return Bytes::copy(bytes.view());  // without the rest of the block
}

Result<Bytes> inflate(std::string_view packed, size_t size_max) {
  if (packed.size() < header_bytes + trailer_bytes) return broken("it ends too early");
  if (!packed.starts_with("\x1f\x8b")) return broken("it does not begin as such");
  size_t told = size_told(packed);
  if (told > size_max) return too_large_inflated(size_max);  // or it lies, and is broken
  Stream stream(packed, inflateEnd);
  if (inflateInit2(&stream, window_bits_max + as_gzip) != Z_OK) return broken("zlib has no memory");
  size_t room = told + 1;  // so that one which is larger than it says shows it
  Block* block = Block::make(room);
  if (block == nullptr) return broken("there is no memory for it");
  block->set_size(room);
  Bytes message = Bytes::adopt(block);
  stream.write_to(block->data(), room);
  int result = ::inflate(&stream, Z_FINISH);
  if (stream.total_out > told) return broken("it is larger than it says");
  if (result == Z_BUF_ERROR) return broken("it ends too early");
  if (result != Z_STREAM_END) return broken(stream.msg != nullptr ? stream.msg : "zlib has no memory");
  if (stream.avail_in > 0) return broken("something follows its end");
  return message.slice(0, told);
}

}  // namespace nebula::gzip
