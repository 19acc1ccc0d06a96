// rpc/grpc.h - the header fields that both sides of a gRPC call share (PROTOCOL-HTTP2).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/time.h"
#include "rpc/call.h"

namespace nebula::grpc {

// "application/grpc", "+proto", "+json". Nothing: not gRPC. Another codec's name (or parameters) counts as `any`.
std::optional<Codec> codec_of(std::string_view content_type);
// A "content-type" among the user's fields names a codec beyond the three, and goes before `codec`.
std::string_view content_type(Codec codec, const Metadata& user);

// "200m" and the like: at most eight digits and a unit of H M S m u n. Nothing: malformed.
std::optional<Duration> parse_timeout(std::string_view text);
std::string format_timeout(Duration left);  // rounded up, so that it never shortens

// What a call says of the tries that may follow; the engine's own, as gRPC's names are. As many as limits::tries_max at
// most; any_retries where it is no number.
inline constexpr std::string_view retries_left_name = "nebula-retries-left";
RetriesLeft parse_retries_left(std::string_view text);

// What a server says of them (gRFC A6): to come after so long, or (negative, or no number) not at all. Nothing: it has not said.
inline constexpr std::string_view pushback_name = "grpc-retry-pushback-ms";
std::optional<int64_t> pushback_ms(const Metadata& trailers);

// grpc-encoding, where there is one, and grpc-accept-encoding: what we know is always told, so that a peer may use it.
void add_encodings(Encoding encoding, Metadata* head);

// grpc-message: UTF-8 with everything but printable ASCII, and %, as %XX. Decoding leaves a lone % as it is.
std::string percent_encode(std::string_view text);
std::string percent_decode(std::string_view text);

// What a head says to the protocol itself. They point into it; of several of one name the first. Where there is none,
// data() is null.
struct ProtocolFields {
  std::string_view method, path, http_status;
  std::string_view content_type, encoding, accept_encoding, timeout, retries_left;
  std::string_view status, message;  // trailers
};

// Copies the user's fields: values of "-bin" names to base64 and back (with or without padding, comma-joined ones
// apart), gRPC's and HTTP/2's own fields left out, but for a content-type of a codec beyond the three. from_wire:
// internal if a value is no base64; the protocol's fields are told in any case.
void to_wire(const Metadata& user, Metadata* wire);
Result<Metadata> from_wire(const Metadata& wire, ProtocolFields* protocol);

// grpc-status and grpc-message, which is cut at limits::status_message_bytes_max.
void add_status(const Status& status, Metadata* trailers);
std::optional<Status> find_status(const ProtocolFields& trailers);

// Logs that a peer has sent a header list over limits::metadata_bytes_soft.
void warn_of_metadata(const Log& log, const Peer& peer, size_t bytes);

// What an answer without grpc-status means (http-grpc-status-mapping.md).
Status status_of_http(std::string_view http_status);

}  // namespace nebula::grpc
