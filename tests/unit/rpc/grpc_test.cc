// unit/rpc/grpc_test.cc - the text forms of the gRPC wire, to the letter of PROTOCOL-HTTP2.
#include "rpc/grpc.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "base/limits.h"

using namespace nebula;
using namespace nebula::grpc;

namespace {

std::string text_of(const Metadata& fields) {
  std::string text;
  for (Field field : fields) text.append(field.name).append("=").append(field.value).append(";");
  return text;
}

Metadata one(std::string_view name, std::string_view value) {
  Metadata fields;
  fields.add(name, value);
  return fields;
}

std::string sent(std::string_view name, std::string_view value) {
  Metadata wire;
  to_wire(one(name, value), &wire);
  return text_of(wire);
}

Result<Metadata> user_of(const Metadata& wire) {
  ProtocolFields protocol;
  return from_wire(wire, &protocol);
}

std::optional<Status> status_in(const Metadata& wire) {
  ProtocolFields protocol;
  cr_assert(from_wire(wire, &protocol).ok());
  return find_status(protocol);
}

std::string received(std::string_view name, std::string_view value) {
  Result<Metadata> user = user_of(one(name, value));
  return user.ok() ? text_of(*user) : user.status().text();
}

int64_t timeout_ns(std::string_view text) { return parse_timeout(text).value_or(nanos(-1)).ns; }

}  // namespace

// ---- timeouts

Test(grpc, reads_a_timeout_in_each_unit) {
  cr_assert_eq(timeout_ns("1H"), 3600'000'000'000);
  cr_assert_eq(timeout_ns("2M"), 120'000'000'000);
  cr_assert_eq(timeout_ns("3S"), 3'000'000'000);
  cr_assert_eq(timeout_ns("4m"), 4'000'000);
  cr_assert_eq(timeout_ns("5u"), 5'000);
  cr_assert_eq(timeout_ns("6n"), 6);
  cr_assert_eq(timeout_ns("0n"), 0);
}

Test(grpc, reads_a_timeout_of_eight_digits_but_not_of_nine) {
  cr_assert_eq(timeout_ns("99999999m"), 99'999'999'000'000);
  cr_assert_eq(timeout_ns("00000001S"), 1'000'000'000);
  cr_assert(!parse_timeout("999999990m"));
  cr_assert(!parse_timeout("000000001S"));
}

Test(grpc, takes_a_timeout_beyond_all_time_for_none) {
  cr_assert_eq(timeout_ns("99999999H"), INT64_MAX);
  cr_assert((Time{sec(1000).ns} + *parse_timeout("99999999H")).is_never());
}

Test(grpc, refuses_a_malformed_timeout) {
  for (std::string_view text :
       {"", "S", "5", "5s", "5h", "5 S", " 5S", "5S ", "-5S", "-0S", "+5S", "0x5S", "5.0S", "5SS", "S5", "m"})
    cr_assert(!parse_timeout(text), "\"%s\" was taken", std::string(text).c_str());
}

Test(grpc, writes_a_timeout_in_the_finest_unit_of_eight_digits) {
  cr_assert(format_timeout(nanos(1)) == "1n");
  cr_assert(format_timeout(nanos(99'999'999)) == "99999999n");
  cr_assert(format_timeout(nanos(100'000'000)) == "100000u");
  cr_assert(format_timeout(sec(3)) == "3000000u");
  cr_assert(format_timeout(sec(100)) == "100000m");
  cr_assert(format_timeout(sec(100'000)) == "100000S");
  cr_assert(format_timeout(sec(100'000'000)) == "1666667M");
}

Test(grpc, rounds_a_timeout_up_so_that_it_never_shortens) {
  cr_assert(format_timeout(nanos(100'000'001)) == "100001u");
  cr_assert(format_timeout(us(100'000'000) + nanos(1)) == "100001m");
  for (int64_t ns : {1l, 999l, 1'000'000'001l, 99'999'999'001l, 123'456'789'123'456l, INT64_MAX - 1}) {
    std::string text = format_timeout(nanos(ns));
    cr_assert_leq(text.size(), 9);
    cr_assert_geq(timeout_ns(text), ns, "%s is less than %ld ns", text.c_str(), static_cast<long>(ns));
  }
}

Test(grpc, writes_the_shortest_timeout_for_a_deadline_that_has_passed) {
  cr_assert(format_timeout(nanos(0)) == "1n");
  cr_assert(format_timeout(sec(-5)) == "1n");
}

// ---- grpc-message

Test(grpc, sends_a_message_of_printable_ascii_as_it_is) {
  cr_assert(percent_encode("no instance of \"helo\" ~ &c") == "no instance of \"helo\" ~ &c");
}

Test(grpc, encodes_percent_control_characters_and_bytes_of_utf8) {
  cr_assert(percent_encode("100%") == "100%25");
  cr_assert(percent_encode("a\nb\tc\x7f") == "a%0Ab%09c%7F");
  cr_assert(percent_encode("für ☃ 𝄞") == "f%C3%BCr %E2%98%83 %F0%9D%84%9E");
  cr_assert(percent_encode(std::string_view("\0", 1)) == "%00");
}

Test(grpc, encodes_a_space_at_either_end_for_no_field_may_have_one_there) {
  cr_assert(percent_encode(" a b ") == "%20a b%20");
  cr_assert(percent_encode(" ") == "%20");
  cr_assert(percent_decode(percent_encode("  a  ")) == "  a  ");
}

Test(grpc, decodes_what_it_encodes) {
  std::string all;
  for (int byte = 0; byte < 256; byte++) all.push_back(static_cast<char>(byte));
  cr_assert(percent_decode(percent_encode(all)) == all);
}

Test(grpc, leaves_a_lone_percent_as_it_is) {
  for (std::string_view text : {"%", "100%", "%4", "%zz", "%4z", "%%", "a%"}) cr_assert(percent_decode(text) == text);
  cr_assert(percent_decode("%%41") == "%A");
  cr_assert(percent_decode("%41%4") == "A%4");
  cr_assert(percent_decode("%c3%bc") == "ü", "lower case digits are read too");
}

// ---- metadata

Test(grpc, sends_text_as_it_is_and_binary_values_as_base64_without_padding) {
  cr_assert(sent("trace", "a,b c") == "trace=a,b c;");
  cr_assert(sent("t-bin", "f") == "t-bin=Zg;");
  cr_assert(sent("t-bin", "fo") == "t-bin=Zm8;");
  cr_assert(sent("t-bin", "foo") == "t-bin=Zm9v;");
  cr_assert(sent("t-bin", "\xff\xfe\xfd") == "t-bin=//79;");
  cr_assert(sent("t-bin", "") == "t-bin=;");
}

Test(grpc, sends_text_without_spaces_around_it) {
  cr_assert(sent("trace", "  a b ") == "trace=a b;");
  cr_assert(sent("trace", "  ") == "trace=;");
  cr_assert(sent("t-bin", " ") == "t-bin=IA;");
}

Test(grpc, reads_base64_with_and_without_padding) {
  cr_assert(received("t-bin", "Zg") == "t-bin=f;");
  cr_assert(received("t-bin", "Zg==") == "t-bin=f;");
  cr_assert(received("t-bin", "Zm8") == "t-bin=fo;");
  cr_assert(received("t-bin", "Zm8=") == "t-bin=fo;");
  cr_assert(received("t-bin", "Zm9v") == "t-bin=foo;");
  cr_assert(received("t-bin", "") == "t-bin=;");
}

Test(grpc, takes_comma_joined_binary_values_apart) {
  cr_assert(received("t-bin", "Zg,Zm8=,,Zm9v") == "t-bin=f;t-bin=fo;t-bin=;t-bin=foo;");
  cr_assert(received("t", "a,b") == "t=a,b;", "text is nobody's to take apart");
}

Test(grpc, refuses_what_is_no_base64) {
  for (std::string_view text : {"Z", "Zg===", "Zm9vZ", "Z!", "Zg==Zg==", "Zm 9", "Zm9v,Z"}) {
    Result<Metadata> user = user_of(one("t-bin", text));
    cr_assert(!user.ok(), "\"%s\" was taken", std::string(text).c_str());
    cr_assert_eq(user.status().code(), Code::internal);
    cr_assert(user.status().message() == "metadata \"t-bin\" is not base64");
  }
}

Test(grpc, keeps_every_byte_of_a_binary_value) {
  std::string all;
  for (int byte = 0; byte < 256; byte++) {
    all.push_back(static_cast<char>(byte));
    Metadata wire;
    to_wire(one("t-bin", all), &wire);
    Result<Metadata> user = user_of(wire);
    cr_assert(user.ok() && user->find("t-bin") == all, "of %d bytes", byte + 1);
  }
}

Test(grpc, keeps_the_order_of_fields_and_all_values_of_a_name) {
  Metadata user;
  user.add("b", "1");
  user.add("a", "2");
  user.add("b", "3");
  Metadata wire;
  to_wire(user, &wire);
  cr_assert(text_of(wire) == "b=1;a=2;b=3;");
  cr_assert(text_of(*user_of(wire)) == "b=1;a=2;b=3;");
}

Test(grpc, drops_the_fields_of_the_protocol_in_both_directions) {
  for (std::string_view name :
       {":path", ":status", "grpc-status", "grpc-timeout", "grpc-anything", "content-type", "te", "content-length",
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host", "nebula-retries-left"}) {
    cr_assert(sent(name, "application/grpc") == "", "%s was sent", std::string(name).c_str());
    cr_assert(received(name, "application/grpc") == "", "%s was handed on", std::string(name).c_str());
  }
  cr_assert(received("user-agent", "x") == "user-agent=x;");
}

// ---- retries

Test(grpc, reads_how_many_tries_are_left) {
  cr_assert(parse_retries_left("0") == 0 && parse_retries_left("2") == 2 && parse_retries_left("007") == 5);
  cr_assert(parse_retries_left("4294967295") == limits::tries_max, "no more than there ever are");
  for (std::string_view text : {"", "-1", "+1", " 1", "1 ", "1x", "0x1", "1.5", "two", "4294967296", "99999999999999999999"})
    cr_assert(parse_retries_left(text) == any_retries, "\"%s\" was taken", std::string(text).c_str());
}

// ---- content types

Test(grpc, tells_codecs_by_the_content_type) {
  cr_assert(codec_of("application/grpc") == Codec::any);
  cr_assert(codec_of("application/grpc+proto") == Codec::proto);
  cr_assert(codec_of("application/grpc+json") == Codec::json);
  cr_assert(codec_of("application/grpc+json;charset=utf-8") == Codec::json);
  cr_assert(codec_of("application/grpc;charset=utf-8") == Codec::any);
  cr_assert(codec_of("application/grpc+thrift") == Codec::any);
}

Test(grpc, knows_what_is_not_grpc) {
  for (std::string_view type : {"", "text/html", "application/json", "application/grp", "application/grpc-web",
                                "application/grpc-web+proto", "application/grpcx"})
    cr_assert(!codec_of(type), "\"%s\" was taken", std::string(type).c_str());
}

Test(grpc, tells_the_fields_of_the_protocol_apart_from_the_users) {
  Metadata wire;
  for (std::string_view name : {":method", ":path", ":status", "content-type", "grpc-encoding", "grpc-accept-encoding",
                                "grpc-timeout", "grpc-status", "grpc-message", "nebula-retries-left"}) {
    wire.add(name, name);
    wire.add(name, "a second one");
  }
  wire.add("mine", "1");
  wire.add("te", "trailers");
  ProtocolFields fields;
  Result<Metadata> user = from_wire(wire, &fields);
  cr_assert(user.ok() && text_of(*user) == "mine=1;");
  cr_assert(fields.method == ":method" && fields.path == ":path" && fields.http_status == ":status");
  cr_assert(fields.content_type == "content-type" && fields.encoding == "grpc-encoding");
  cr_assert(fields.accept_encoding == "grpc-accept-encoding" && fields.timeout == "grpc-timeout");
  cr_assert(fields.status == "grpc-status" && fields.message == "grpc-message");
  cr_assert(fields.retries_left == "nebula-retries-left");
}

Test(grpc, tells_an_empty_field_of_the_protocol_from_none) {
  ProtocolFields fields;
  cr_assert(from_wire(one("grpc-timeout", ""), &fields).ok());
  cr_assert_not_null(fields.timeout.data());
  cr_assert_null(fields.encoding.data());
}

Test(grpc, tells_the_fields_of_the_protocol_beside_a_broken_one_of_the_users) {
  Metadata wire = one("broken-bin", "%");
  wire.add("grpc-status", "5");
  ProtocolFields fields;
  cr_assert(from_wire(wire, &fields).status().code() == Code::internal);
  cr_assert(fields.status == "5");
}

Test(grpc, names_the_codec_in_the_content_type) {
  cr_assert(content_type(Codec::any, {}) == "application/grpc");
  cr_assert(content_type(Codec::proto, {}) == "application/grpc+proto");
  cr_assert(content_type(Codec::json, {}) == "application/grpc+json");
}

Test(grpc, lets_the_user_name_a_codec_beyond_the_three) {
  Metadata user = one("content-type", "application/grpc+thrift");
  cr_assert(content_type(Codec::any, user) == "application/grpc+thrift");
  Metadata wire;
  to_wire(user, &wire);
  cr_assert(wire.empty(), "it must not be there twice");
  cr_assert(received("content-type", "application/grpc+thrift") == "content-type=application/grpc+thrift;");
  cr_assert(content_type(Codec::proto, one("content-type", "text/html")) == "application/grpc+proto");
}

// ---- status

Test(grpc, writes_ok_as_a_lone_number) {
  Metadata trailers;
  add_status({}, &trailers);
  cr_assert(text_of(trailers) == "grpc-status=0;");
}

Test(grpc, writes_and_reads_every_code_with_its_message) {
  for (int number = 1; number <= 16; number++) {
    Metadata trailers;
    add_status({static_cast<Code>(number), "für 100%"}, &trailers);
    cr_assert(text_of(trailers) == "grpc-status=" + std::to_string(number) + ";grpc-message=f%C3%BCr 100%25;");
    std::optional<Status> status = status_in(trailers);
    cr_assert(status && static_cast<int>(status->code()) == number && status->message() == "für 100%");
  }
}

Test(grpc, finds_no_status_where_there_is_none) { cr_assert(!status_in(one("grpc-message", "x"))); }

Test(grpc, reads_a_status_it_does_not_know_as_unknown) {
  for (std::string_view text : {"17", "-1", "", "x", "2x", " 2", "999999999999"}) {
    Metadata trailers = one("grpc-status", text);
    trailers.add("grpc-message", "why");
    std::optional<Status> status = status_in(trailers);
    cr_assert(status && status->code() == Code::unknown);
    cr_assert(status->message() == "grpc-status \"" + std::string(text) + "\": why");
  }
}

Test(grpc, drops_the_message_of_an_ok_status) {
  Metadata trailers = one("grpc-status", "0");
  trailers.add("grpc-message", "fine");
  cr_assert(status_in(trailers)->ok());
}

Test(grpc, cuts_a_message_that_would_not_fit_a_header_list) {
  for (std::string part : {"x", "ü", "☃", "𝄞"}) {
    std::string text;
    while (text.size() < 100'000) text.append(part);
    Metadata trailers;
    add_status({Code::unknown, text}, &trailers);
    cr_assert_leq(trailers.list_size(), limits::metadata_bytes_max - 4096, "no room is left for the fields beside it");
    std::string read(status_in(trailers)->message());
    cr_assert(read.ends_with(part + " ..."), "cut inside a character: %s", read.substr(read.size() - 10).c_str());
    cr_assert_gt(read.size(), 1000);
  }
}

Test(grpc, maps_http_status_as_the_specification_does) {
  struct Row {
    std::string_view http;
    Code code;
  };
  for (Row row :
       {Row{"400", Code::internal}, Row{"401", Code::unauthenticated}, Row{"403", Code::permission_denied},
        Row{"404", Code::unimplemented}, Row{"429", Code::unavailable}, Row{"502", Code::unavailable},
        Row{"503", Code::unavailable}, Row{"504", Code::unavailable}, Row{"200", Code::unknown},
        Row{"302", Code::unknown}, Row{"418", Code::unknown}, Row{"500", Code::unknown}, Row{"", Code::unknown}}) {
    Status status = status_of_http(row.http);
    cr_assert_eq(status.code(), row.code, "HTTP %s", std::string(row.http).c_str());
    cr_assert(status.message().find(row.http) != std::string_view::npos);
  }
}
