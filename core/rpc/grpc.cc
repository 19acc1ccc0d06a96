// rpc/grpc.cc - the text forms of the gRPC wire.
#include "rpc/grpc.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/limits.h"

namespace nebula::grpc {

namespace {

constexpr std::string_view base_type = "application/grpc";
constexpr char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64_encode(std::string_view raw) {
  std::string text;
  text.reserve((raw.size() * 4 + 2) / 3);
  uint32_t bits = 0;
  int count = 0;
  for (char c : raw) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) text.push_back(base64_digits[bits >> (count - 6) & 63]);
  }
  if (count > 0) text.push_back(base64_digits[bits << (6 - count) & 63]);
  return text;  // unpadded, as the specification asks of senders
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

std::optional<std::string> base64_decode(std::string_view text) {
  for (int padding = 0; padding < 2 && text.ends_with('='); padding++) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string raw;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    int value = base64_value(c);
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      raw.push_back(static_cast<char>(bits >> count));
    }
  }
  return raw;
}

// Of HTTP/1.1 connections: in HTTP/2 they make a message malformed, and its stream is reset (RFC 9113, 8.2.2).
bool is_of_one_hop(std::string_view name) {
  return name == "connection" || name == "keep-alive" || name == "proxy-connection" || name == "transfer-encoding" ||
         name == "upgrade" || name == "host";
}

// What one end's program says to the other's about retries (gRFC A6).
bool is_of_retries(std::string_view name) {
  return name == "grpc-previous-rpc-attempts" || name == pushback_name;
}

// Fields that belong to the protocol, not to the user.
bool is_reserved(std::string_view name) {
  return name.starts_with(':') || (name.starts_with("grpc-") && !is_of_retries(name)) ||
         name == "content-type" || name == "te" ||
         name == "content-length" || is_of_one_hop(name) || name == retries_left_name;
}

// Where the protocol's fields keep the one of that name; null: it does not matter to us.
std::string_view* place_of(std::string_view name, ProtocolFields* fields) {
  switch (name.size()) {
    case 5: return name == ":path" ? &fields->path : nullptr;
    case 7: return name == ":method" ? &fields->method : name == ":status" ? &fields->http_status : nullptr;
    case 11: return name == "grpc-status" ? &fields->status : nullptr;
    case 12:
      return name == "content-type"   ? &fields->content_type
             : name == "grpc-timeout" ? &fields->timeout
             : name == "grpc-message" ? &fields->message
                                      : nullptr;
    case 13: return name == "grpc-encoding" ? &fields->encoding : nullptr;
    case 19: return name == retries_left_name ? &fields->retries_left : nullptr;
    case 20: return name == "grpc-accept-encoding" ? &fields->accept_encoding : nullptr;
    default: return nullptr;
  }
}

// Of a codec beyond the three: the user is to know it.
bool names_codec(const Field& field) {
  return field.name == "content-type" && field.value != base_type && codec_of(field.value) == Codec::any;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The first size_max bytes of UTF-8, or less: no character is cut.
std::string_view whole_characters(std::string_view text, size_t size_max) {
  size_t size = size_max;
  while (size > 0 && (text[size] & 0xc0) == 0x80) size--;
  return text.substr(0, size);
}

// Spaces around a value are not part of it and must not be sent (RFC 9113, 8.2.1); gRPC says that they may be stripped.
std::string_view without_edges(std::string_view value) {
  while (value.starts_with(' ')) value.remove_prefix(1);
  while (value.ends_with(' ')) value.remove_suffix(1);
  return value;
}

struct Unit {
  char letter;
  int64_t ns;
};
constexpr Unit units[] = {
    {'n', 1}, {'u', 1'000}, {'m', 1'000'000}, {'S', 1'000'000'000}, {'M', 60'000'000'000}, {'H', 3'600'000'000'000},
};
constexpr int64_t digits_max = 99'999'999;

}  // namespace

std::optional<Codec> codec_of(std::string_view content_type) {
  if (!content_type.starts_with(base_type)) return std::nullopt;
  std::string_view rest = content_type.substr(base_type.size());
  if (rest.empty() || rest[0] == ';') return Codec::any;
  if (rest[0] != '+') return std::nullopt;
  std::string_view name = rest.substr(1, rest.find(';') - 1);
  if (name == "proto") return Codec::proto;
  if (name == "json") return Codec::json;
  return Codec::any;
}

std::string_view content_type(Codec codec, const Metadata& user) {
  if (std::optional<std::string_view> named = user.find("content-type"); named && codec_of(*named)) return *named;
  switch (codec) {
    case Codec::proto: return "application/grpc+proto";
    case Codec::json: return "application/grpc+json";
    case Codec::any: break;
  }
  return base_type;
}

void add_encodings(Encoding encoding, Metadata* head) {
  if (encoding != Encoding::identity) head->add("grpc-encoding", name_of(encoding));
  head->add("grpc-accept-encoding", encodings_known);
}

std::optional<Duration> parse_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9 || text[0] == '-') return std::nullopt;
  std::string_view digits = text.substr(0, text.size() - 1);
  int64_t count = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  for (const Unit& unit : units) {
    if (unit.letter != text.back()) continue;
    int64_t ns = 0;
    // 99,999,999 hours do not fit: as good as no deadline.
    return __builtin_mul_overflow(count, unit.ns, &ns) ? Duration{INT64_MAX} : Duration{ns};
  }
  return std::nullopt;
}

std::string format_timeout(Duration left) {
  if (left.ns < 1) left.ns = 1;
  for (const Unit& unit : units) {
    int64_t count = (left.ns - 1) / unit.ns + 1;
    if (count <= digits_max) return std::to_string(count) + unit.letter;
  }
  return std::to_string(digits_max) + 'H';
}

RetriesLeft parse_retries_left(std::string_view text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return any_retries;
  return static_cast<RetriesLeft>(std::min(value, limits::tries_max));
}

std::optional<int64_t> pushback_ms(const Metadata& trailers) {
  std::optional<std::string_view> text = trailers.find(pushback_name);
  if (!text) return std::nullopt;
  int32_t value = -1;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  return error == std::errc() && end == text->data() + text->size() ? value : -1;
}

std::string percent_encode(std::string_view text) {
  constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); i++) {
    // No field's value begins or ends with a space (RFC 9113, 8.2.1); a peer would reset the stream.
    const bool is_edge = text[i] == ' ' && (i == 0 || i + 1 == text.size());
    if (text[i] >= ' ' && text[i] <= '~' && text[i] != '%' && !is_edge) {
      out.push_back(text[i]);
    } else {
      unsigned char byte = static_cast<unsigned char>(text[i]);
      out.append({'%', hex[byte >> 4], hex[byte & 15]});
    }
  }
  return out;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); i++) {
    int high = text[i] == '%' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low < 0) {
      out.push_back(text[i]);
    } else {
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

void to_wire(const Metadata& user, Metadata* wire) {
  for (Field field : user) {
    if (is_reserved(field.name)) continue;
    if (is_binary(field.name))
      wire->add(field.name, base64_encode(field.value));
    else
      wire->add(field.name, without_edges(field.value));
  }
}

Result<Metadata> from_wire(const Metadata& wire, ProtocolFields* protocol) {
  Metadata user;
  Status failure;
  for (Field field : wire) {
    if (std::string_view* place = place_of(field.name, protocol); place != nullptr && place->data() == nullptr)
      *place = field.value;
    if (is_reserved(field.name) && !names_codec(field)) continue;
    if (!is_binary(field.name)) {
      user.add(field.name, field.value);
      continue;
    }
    std::string_view rest = field.value;
    while (true) {
      size_t comma = rest.find(',');
      std::optional<std::string> raw = base64_decode(rest.substr(0, comma));
      if (raw)
        user.add(field.name, *raw);
      else if (failure.ok())
        failure = internal("metadata \"" + std::string(field.name) + "\" is not base64");
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  if (!failure.ok()) return failure;
  return user;
}

void add_status(const Status& status, Metadata* trailers) {
  if (status.ok()) return trailers->add("grpc-status", "0");
  trailers->add("grpc-status", std::to_string(static_cast<int>(status.code())));
  if (status.message().empty()) return;
  if (status.message().size() <= limits::status_message_bytes_max)
    trailers->add("grpc-message", percent_encode(status.message()));
  else
    trailers->add("grpc-message",
                  percent_encode(whole_characters(status.message(), limits::status_message_bytes_max)) + " ...");
}

std::optional<Status> find_status(const ProtocolFields& trailers) {
  std::string_view text = trailers.status;
  if (text.data() == nullptr) return std::nullopt;
  if (text == "0") return Status();
  int number = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool is_known = error == std::errc() && end == text.data() + text.size() && number >= 0 && number <= 16;
  std::string message = percent_decode(trailers.message);
  if (!is_known) return Status(Code::unknown, "grpc-status \"" + std::string(text) + "\": " + message);
  return Status(static_cast<Code>(number), std::move(message));
}

void warn_of_metadata(const Log& log, const Peer& peer, size_t bytes) {
  NEBULA_LOG(log, warn, peer.address + " has sent metadata of " + std::to_string(bytes) + " bytes; over " +
                            std::to_string(limits::metadata_bytes_soft) + " many gRPC peers refuse it");
}

Status status_of_http(std::string_view http_status) {
  std::string text = "the peer answered with HTTP status " + std::string(http_status) + " and no grpc-status";
  static constexpr std::pair<std::string_view, Code> codes[] = {
      {"400", Code::internal},    {"401", Code::unauthenticated}, {"403", Code::permission_denied},
      {"404", Code::unimplemented}, {"429", Code::unavailable},   {"502", Code::unavailable},
      {"503", Code::unavailable}, {"504", Code::unavailable},
  };
  for (const auto& [number, code] : codes)
    if (number == http_status) return {code, std::move(text)};
  return {Code::unknown, std::move(text)};
}

}  // namespace nebula::grpc
