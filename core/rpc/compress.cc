// rpc/compress.cc - the table of encodings, and how two peers agree on one.
#include "rpc/compress.h"

#include <string>

#include "base/assert.h"

namespace nebula {

namespace {

struct Row {
  Encoding encoding;
  std::string_view name;
  std::optional<Bytes> (*compress)(std::string_view message);
  Result<Bytes> (*inflate)(std::string_view packed, size_t size_max);
};

constexpr Row rows[] = {
    {Encoding::identity, "identity", nullptr, nullptr},
    {Encoding::gzip, "gzip", gzip::compress, gzip::inflate},
    {Encoding::zstd, "zstd", zstd::compress, zstd::inflate},
};

const Row& row_of(Encoding encoding) { return rows[static_cast<size_t>(encoding)]; }

}  // namespace

std::string_view name_of(Encoding encoding) { return row_of(encoding).name; }

std::optional<Encoding> encoding_of(std::string_view name) {
  for (const Row& row : rows)
    if (row.name == name) return row.encoding;
  return std::nullopt;
}

Encoding agree(Encoding wanted, std::string_view accepted) {
  Encoding found = Encoding::identity;
  if (wanted == Encoding::identity) return found;
  while (!accepted.empty()) {
    size_t comma = accepted.find(',');
    std::string_view name = accepted.substr(0, comma);
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    std::optional<Encoding> encoding = encoding_of(name);
    if (encoding == wanted) return wanted;
    if (found == Encoding::identity) found = encoding.value_or(found);
    accepted = comma == std::string_view::npos ? std::string_view() : accepted.substr(comma + 1);
  }
  return found;
}

std::optional<Bytes> compress(Encoding encoding, std::string_view message) {
  NEBULA_ASSERT(encoding != Encoding::identity);
  return message.empty() ? std::nullopt : row_of(encoding).compress(message);
}

Result<Bytes> inflate(Encoding encoding, std::string_view packed, size_t size_max) {
  NEBULA_ASSERT(encoding != Encoding::identity);
  return row_of(encoding).inflate(packed, size_max);
}

Status too_large_inflated(size_t size_max) {
  return resource_exhausted("a compressed message is larger than the limit of " + std::to_string(size_max) + " bytes");
}

}  // namespace nebula
