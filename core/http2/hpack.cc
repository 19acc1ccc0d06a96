// http2/hpack.cc - our fields as nghttp2 wants them, and back.
#include "http2/hpack.h"

#include <nghttp2/nghttp2.h>

#include <cstring>

#include "base/assert.h"

namespace nebula {

namespace {

// RFC 7541, 4.2: what peers give us at most unless told otherwise, and what we take of theirs.
constexpr size_t table_bytes = 4096;

uint8_t* bytes_of(std::string_view text) {
  return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));  // nghttp2 only reads
}

// An integer with a prefix of so many bits (RFC 7541, 5.1). False: it is not complete, or too large to be sense.
bool take_integer(std::string_view* text, int prefix_bits, size_t* value) {
  if (text->empty()) return false;
  size_t most = (size_t{1} << prefix_bits) - 1;
  *value = static_cast<uint8_t>(text->front()) & most;
  text->remove_prefix(1);
  if (*value < most) return true;
  for (int shift = 0; shift < 28 && !text->empty(); shift += 7) {
    uint8_t byte = static_cast<uint8_t>(text->front());
    text->remove_prefix(1);
    *value += static_cast<size_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

bool skip_string(std::string_view* text) {
  size_t size = 0;
  if (!take_integer(text, 7, &size) || size > text->size()) return false;
  text->remove_prefix(size);
  return true;
}

char* put_string(char* at, std::string_view text) {
  if (text.size() < 0x7f) {
    *at++ = static_cast<char>(text.size());
  } else {
    *at++ = 0x7f;
    size_t left = text.size() - 0x7f;
    for (; left >= 0x80; left >>= 7) *at++ = static_cast<char>(0x80 | (left & 0x7f));
    *at++ = static_cast<char>(left);
  }
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

// In a Metadata.
size_t size_of(const Field& field) { return 2 * sizeof(uint32_t) + field.name.size() + field.value.size(); }

std::string_view view_of(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

}  // namespace

// RFC 7541, 6.
bool leaves_table(std::string_view block) {
  while (!block.empty()) {
    uint8_t first = static_cast<uint8_t>(block.front());
    bool is_indexed = (first & 0x80) != 0;
    if (!is_indexed && (first & 0x60) != 0) return false;
    size_t index = 0;
    if (!take_integer(&block, is_indexed ? 7 : 4, &index)) return false;
    if (is_indexed) continue;
    if (index == 0 && !skip_string(&block)) return false;
    if (!skip_string(&block)) return false;
  }
  return true;
}

bool varies(std::string_view name) { return name == "grpc-timeout" || name == "grpc-message"; }

HpackDecoder::~HpackDecoder() {
  if (raw_ != nullptr) nghttp2_hd_inflate_del(raw_);
}

void HpackDecoder::feed(std::string_view part, bool is_whole) {
  if (raw_ == nullptr) NEBULA_ASSERT(nghttp2_hd_inflate_new(&raw_) == 0);
  part_ = part;
  is_whole_ = is_whole;
}

HpackDecoder::Step HpackDecoder::next(Field* field) {
  nghttp2_nv nv;
  int flags = 0;
  ssize_t taken = nghttp2_hd_inflate_hd2(raw_, &nv, &flags, bytes_of(part_), part_.size(), is_whole_ ? 1 : 0);
  if (taken < 0) return Step::bad;
  part_.remove_prefix(static_cast<size_t>(taken));
  if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
    *field = {view_of(nv.name, nv.namelen), view_of(nv.value, nv.valuelen)};
    return Step::field;
  }
  if ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) return Step::more;
  nghttp2_hd_inflate_end_headers(raw_);
  return Step::end;
}

HpackEncoder::~HpackEncoder() {
  if (raw_ != nullptr) nghttp2_hd_deflate_del(raw_);
}

nghttp2_hd_deflater* HpackEncoder::raw() {
  if (raw_ == nullptr) NEBULA_ASSERT(nghttp2_hd_deflate_new(&raw_, table_bytes) == 0);
  return raw_;
}

void HpackEncoder::limit_table(uint32_t bytes) {
  NEBULA_ASSERT(nghttp2_hd_deflate_change_table_size(raw(), bytes) == 0);
  memo_.forget();  // the next block has to begin with the new size
}

// Fields of a Metadata, by nghttp2, which may change the table.
size_t HpackEncoder::encode_fields(std::string_view fields, char* room) {
  constexpr size_t few = 16;
  nghttp2_nv array[few];
  Metadata::Iterator at(fields.data()), end(fields.data() + fields.size());
  size_t size = 0;
  while (at != end) {
    size_t count = 0, most = 12;
    for (; at != end && count < few; ++at) {
      Field field = *at;
      uint8_t flags = varies(field.name) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
      array[count++] = {bytes_of(field.name), bytes_of(field.value), field.name.size(), field.value.size(), flags};
      most += field.name.size() + field.value.size() + 12;
    }
    ssize_t part = nghttp2_hd_deflate_hd(raw(), reinterpret_cast<uint8_t*>(room) + size, most, array, count);
    NEBULA_ASSERT(part >= 0);
    size += static_cast<size_t>(part);
  }
  if (!leaves_table({room, size})) memo_.forget();
  return size;
}

// Those before the first that varies, from memory if they have been sent before.
size_t HpackEncoder::encode_first(std::string_view fields, char* room, size_t* taken) {
  if (const BlockMemo<std::string>::Entry* known = memo_.find(fields)) {
    *taken = known->block.size();
    std::memcpy(room, known->value.data(), known->value.size());
    return known->value.size();
  }
  Metadata::Iterator at(fields.data()), end(fields.data() + fields.size());
  for (*taken = 0; at != end && !varies((*at).name); ++at) *taken += size_of(*at);
  size_t size = encode_fields(fields.substr(0, *taken), room);
  if (!leaves_table({room, size})) return size;
  if (std::string* value = memo_.keep(fields.substr(0, *taken))) value->assign(room, size);
  return size;
}

size_t HpackEncoder::encode(const Metadata& head, char* room) {
  std::string_view fields = head.block();
  size_t taken = 0;
  size_t size = encode_first(fields, room, &taken);
  fields.remove_prefix(taken);
  while (!fields.empty()) {
    Field field = *Metadata::Iterator(fields.data());
    if (size > 0 && varies(field.name)) {  // a literal that is not indexed, as it is (RFC 7541, 6.2.2)
      room[size] = 0;
      size = static_cast<size_t>(put_string(put_string(room + size + 1, field.name), field.value) - room);
    } else {
      size += encode_fields(fields.substr(0, size_of(field)), room + size);
    }
    fields.remove_prefix(size_of(field));
  }
  return size;
}

}  // namespace nebula
