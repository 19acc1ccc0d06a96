// rpc/compress.h - the encodings of a message: their names, who takes which, there and back (gRPC's compression.md).
//
// To add one: a file with its two functions, a value of Encoding, a row in compress.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace nebula {

// What a call names in "grpc-encoding". Each message says for itself whether it is compressed with it.
enum class Encoding : uint8_t { identity, gzip, zstd };
inline constexpr std::string_view encodings_known = "identity,gzip,zstd";  // our "grpc-accept-encoding"

std::string_view name_of(Encoding encoding);
std::optional<Encoding> encoding_of(std::string_view name);  // nothing: unknown

// The encoding for a peer that accepts this list: the one that is wanted, else another that both know; identity where
// there is none, and where none is wanted.
Encoding agree(Encoding wanted, std::string_view accepted);

// The message, compressed. Nothing: it would not get smaller that way.
std::optional<Bytes> compress(Encoding encoding, std::string_view message);

// The message again, in memory of its own size: how large it is, is known or counted before it is inflated, since a bomb
// is small. resource_exhausted: it is larger than `size_max`, seen before more than a byte over it is inflated, or as soon
// as it says so itself; internal: it is broken, or something follows it.
Result<Bytes> inflate(Encoding encoding, std::string_view packed, size_t size_max);
Status too_large_inflated(size_t size_max);

namespace gzip {
std::optional<Bytes> compress(std::string_view message);
Result<Bytes> inflate(std::string_view packed, size_t size_max);
}  // namespace gzip

namespace zstd {
std::optional<Bytes> compress(std::string_view message);
Result<Bytes> inflate(std::string_view packed, size_t size_max);
}  // namespace zstd

}  // namespace nebula
