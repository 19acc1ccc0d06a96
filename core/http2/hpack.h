// http2/hpack.h - header compression (RFC 7541), by nghttp2's coder.
//
// One decoder and one encoder for a connection, for their tables remember what went before: every block that comes is to
// be decoded, wanted or not. Each makes its table when it is first used, so that a connection without calls has none.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/metadata.h"
#include "http2/block_memo.h"

struct nghttp2_hd_inflater;
struct nghttp2_hd_deflater;

namespace nebula {

// Whether what follows this block can be decoded as what came before it: it adds nothing to the table and resizes nothing.
bool leaves_table(std::string_view block);

// Whether values of that name differ from call to call. They would push the useful entries out of a table.
bool varies(std::string_view name);

class HpackDecoder {
 public:
  HpackDecoder() = default;
  HpackDecoder(const HpackDecoder&) = delete;
  HpackDecoder& operator=(const HpackDecoder&) = delete;
  ~HpackDecoder();

  enum class Step : uint8_t { field, more, end, bad };

  // The next part of a block, which stays until next() has said `more` or `end`.
  void feed(std::string_view part, bool is_whole);

  // A field is valid until the next call. `bad`: the connection can't go on.
  Step next(Field* field);
  size_t left() const { return part_.size(); }  // bytes of the part behind that field

 private:
  nghttp2_hd_inflater* raw_ = nullptr;
  std::string_view part_;
  bool is_whole_ = false;
};

class HpackEncoder {
 public:
  HpackEncoder() = default;
  HpackEncoder(const HpackEncoder&) = delete;
  HpackEncoder& operator=(const HpackEncoder&) = delete;
  ~HpackEncoder();

  void limit_table(uint32_t bytes);  // the peer's SETTINGS_HEADER_TABLE_SIZE

  // At most so much comes of it.
  static size_t bound(const Metadata& head) { return head.list_size() - 20 * head.count() + 12; }

  // Into bound(head) bytes; how many there are.
  size_t encode(const Metadata& head, char* room);

 private:
  nghttp2_hd_deflater* raw();
  size_t encode_fields(std::string_view fields, char* room);
  size_t encode_first(std::string_view fields, char* room, size_t* taken);

  nghttp2_hd_deflater* raw_ = nullptr;
  BlockMemo<std::string> memo_;  // from fields, as Metadata has them, to what they are encoded as
};

}  // namespace nebula
