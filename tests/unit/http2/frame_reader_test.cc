// unit/http2/frame_reader_test.cc - frames come out whole, however their bytes were cut.
#include "http2/frame_reader.h"

#include <criterion/criterion.h>

#include "kit/raw_http2.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// Writes down what it hears; bodies and blocks as one.
struct Story final : H2FrameEvents {
  bool on_body_begin(const h2::FrameHead& frame) override { return add("body " + std::to_string(frame.id) + " "); }
  bool on_body(uint32_t, std::string_view part) override { return add(part); }
  bool on_body_end(uint32_t, size_t padding, bool last) override {
    return add(" +" + std::to_string(padding) + (last ? " last;" : ";"));
  }
  bool on_head_begin(uint32_t id, bool last) override {
    return add("head " + std::to_string(id) + (last ? " last " : " "));
  }
  bool on_head(std::string_view part, bool is_whole) override { return add(std::string(part) + (is_whole ? ";" : "")); }
  bool on_reset(uint32_t id, uint32_t code) override {
    return add("reset " + std::to_string(id) + " " + std::to_string(code) + ";");
  }
  bool on_setting(uint16_t name, uint32_t value) override {
    return add(std::to_string(name) + "=" + std::to_string(value) + " ");
  }
  bool on_settings_end(bool is_ack) override { return add(is_ack ? "settings ack;" : "settings;"); }
  bool on_ping(bool is_ack, std::string_view payload) override {
    return add((is_ack ? "ping ack " : "ping ") + std::string(payload) + ";");
  }
  bool on_goaway(uint32_t last_id, uint32_t code, std::string_view debug) override {
    return add("goaway " + std::to_string(last_id) + " " + std::to_string(code) + " " + std::string(debug) + ";");
  }
  bool on_window_update(uint32_t id, uint32_t increment) override {
    return add("window " + std::to_string(id) + " " + std::to_string(increment) + ";");
  }
  void on_bad_preface() override { text += "bad preface"; }
  void on_bad_frame(uint32_t code, std::string_view) override { text += "bad " + std::to_string(code); }

  bool add(std::string_view more) {
    text.append(more);
    return true;
  }
  std::string text;
};

// What a server hears of these frames, after the preface and its SETTINGS.
std::string told(const std::string& frames) {
  H2FrameReader reader(true);
  Story story;
  if (reader.feed(raw::hello(), story)) reader.feed(frames, story);
  cr_assert(story.text.starts_with("settings;"));
  return story.text.substr(9);
}

}  // namespace

Test(frame_reader, tells_the_same_whatever_the_pieces) {
  std::string text = std::string(raw::preface) +
                     raw::frame(raw::settings, 0, 0, raw::setting(4, 7) + raw::setting(99, 1)) +
                     raw::frame(raw::headers, raw::end_stream, 1, "he") + raw::frame(raw::continuation, 0, 1, "") +
                     raw::frame(raw::continuation, raw::end_headers, 1, "ad") +
                     raw::frame(raw::headers, raw::end_headers | 8 | 0x20, 3, "\x02" + raw::number(1) + "wblock\xff\xff") +
                     raw::frame(raw::headers, raw::end_headers, 5, "") + raw::frame(raw::data, 0, 3, "hello") +
                     raw::frame(raw::data, 8 | raw::end_stream, 3, std::string("\x03yes\0\0\0", 7)) +
                     raw::frame(raw::data, 0, 5, "") + raw::frame(0xbe, 0xff, 9, "what") +
                     raw::frame(2, 0, 1, raw::number(3) + "w") + raw::frame(raw::ping, 0, 0, "12345678") +
                     raw::frame(raw::rst_stream, 0, 3, raw::number(8)) +
                     raw::frame(raw::window_update, 0, 0, raw::number(5)) + raw::frame(raw::settings, 1, 0, "") +
                     raw::frame(raw::goaway, 0, 0, raw::number(7) + raw::number(2) + "bye");
  std::string expected =
      "4=7 99=1 settings;head 1 last head;head 3 block;head 5 ;body 3 hello +0;body 3 yes +4 last;body 5  +0;"
      "ping 12345678;reset 3 8;window 0 5;settings ack;goaway 7 2 bye;";
  for (size_t size = 1; size <= text.size(); size++) {
    H2FrameReader reader(true);
    Story story;
    for (size_t at = 0; at < text.size(); at += size)
      cr_assert(reader.feed(std::string_view(text).substr(at, size), story), "pieces of %zu", size);
    cr_assert(story.text == expected, "pieces of %zu: %s", size, story.text.c_str());
    cr_assert(!reader.is_inside());
  }
}

Test(frame_reader, knows_where_it_is_and_what_it_costs_whatever_the_pieces) {
  std::string text = raw::hello() + raw::request(1) + raw::frame(raw::data, 0, 1, "hello") +
                     raw::frame(raw::ping, 0, 0, "12345678") + raw::frame(raw::headers, 0, 3, "half");
  for (size_t size = 1; size < text.size(); size++) {
    H2FrameReader reader(true);
    Story story;
    int64_t cost = 0;
    for (size_t from = 0; from < text.size(); from += size) {
      cr_assert(reader.feed(std::string_view(text).substr(from, size), story));
      cost += reader.take_cost();
    }
    cr_assert_eq(reader.frames(), 5);
    cr_assert_eq(cost, 1 + 1 - 4 - 4, "SETTINGS and PING cost, two requests bring in");
    cr_assert(reader.is_inside_head() && reader.is_inside());
    cr_assert(reader.feed(raw::frame(raw::continuation, raw::end_headers, 3, ""), story));
    cr_assert(!reader.is_inside_head() && !reader.is_inside());
    cr_assert(reader.feed(text.substr(raw::preface.size(), 5), story));
    cr_assert(reader.is_inside());
  }
}

Test(frame_reader, holds_frames_to_their_rules) {
  struct Row {
    const char* name;
    std::string frames;
    uint32_t code;
  };
  std::string open = raw::frame(raw::headers, 0, 1, "");
  std::string many;
  for (size_t i = 0; i <= limits::continuations_max; i++) many += raw::frame(raw::continuation, 0, 1, "");
  std::string settings;
  for (size_t i = 0; i <= limits::settings_entries_max; i++) settings += raw::setting(99, 0);
  Row rows[] = {
      {"a frame that is too large", raw::frame(raw::data, 0, 1, std::string(h2::frame_bytes_max + 1, 'x')), 6},
      {"DATA of stream 0", raw::frame(raw::data, 0, 0, "x"), 1},
      {"HEADERS of stream 0", raw::frame(raw::headers, 4, 0, "x"), 1},
      {"PRIORITY of stream 0", raw::frame(2, 0, 0, "12345"), 1},
      {"RST_STREAM of stream 0", raw::frame(raw::rst_stream, 0, 0, "1234"), 1},
      {"SETTINGS of a stream", raw::frame(raw::settings, 0, 1, ""), 1},
      {"PING of a stream", raw::frame(raw::ping, 0, 1, "12345678"), 1},
      {"GOAWAY of a stream", raw::frame(raw::goaway, 0, 1, "12345678"), 1},
      {"PUSH_PROMISE", raw::frame(raw::push_promise, 4, 1, "1234"), 1},
      {"CONTINUATION of nothing", raw::frame(raw::continuation, 4, 1, ""), 1},
      {"CONTINUATION of another stream", open + raw::frame(raw::continuation, 4, 3, ""), 1},
      {"a frame inside a header block", open + raw::frame(raw::ping, 0, 0, "12345678"), 1},
      {"CONTINUATION without end", open + many, 11},
      {"padding without its length", raw::frame(raw::data, 8, 1, ""), 6},
      {"more padding than payload", raw::frame(raw::data, 8, 1, "\x03xy"), 1},
      {"more padding than header block", raw::frame(raw::headers, 4 | 8, 1, "\x03xy"), 1},
      {"a header block without its priority", raw::frame(raw::headers, 4 | 0x20, 1, "1234"), 6},
      {"a stream that depends on itself", raw::frame(raw::headers, 4 | 0x20, 1, raw::number(1) + "w"), 1},
      {"PRIORITY that depends on itself", raw::frame(2, 0, 1, raw::number(1) + "w"), 1},
      {"PRIORITY of a wrong size", raw::frame(2, 0, 1, "1234"), 6},
      {"RST_STREAM of a wrong size", raw::frame(raw::rst_stream, 0, 1, "12345"), 6},
      {"WINDOW_UPDATE of a wrong size", raw::frame(raw::window_update, 0, 1, "123"), 6},
      {"PING of a wrong size", raw::frame(raw::ping, 0, 0, "1234567"), 6},
      {"GOAWAY of a wrong size", raw::frame(raw::goaway, 0, 0, "1234567"), 6},
      {"SETTINGS of a wrong size", raw::frame(raw::settings, 0, 0, "1234567"), 6},
      {"an acknowledgement that says something", raw::frame(raw::settings, 1, 0, raw::setting(4, 7)), 6},
      {"too many settings", raw::frame(raw::settings, 0, 0, settings), 11},
      {"a push that is neither on nor off", raw::frame(raw::settings, 0, 0, raw::setting(2, 2)), 1},
      {"a window that is too large", raw::frame(raw::settings, 0, 0, raw::setting(4, 0x80000000)), 3},
      {"largest frames that are too small", raw::frame(raw::settings, 0, 0, raw::setting(5, 16383)), 1},
      {"largest frames that are too large", raw::frame(raw::settings, 0, 0, raw::setting(5, 1 << 24)), 1},
  };
  for (const Row& row : rows) {
    std::string text = told(row.frames);
    std::string end = "bad " + std::to_string(row.code);
    cr_assert(text.ends_with(end) && text.find(end) == text.size() - end.size(), "%s: %s", row.name, text.c_str());
  }
}

Test(frame_reader, wants_preface_and_settings_first) {
  Story story;
  H2FrameReader server(true);
  cr_assert(!server.feed("PRI * HTTP/1.1\r\n", story));
  cr_assert(story.text == "bad preface");
  for (uint8_t type : {raw::ping, raw::data, raw::headers}) {
    Story other;
    H2FrameReader client(false);
    cr_assert(!client.feed(raw::frame(type, 0, type == raw::ping ? 0 : 1, "12345678"), other));
    cr_assert(other.text == "bad 1");
  }
  Story push;
  H2FrameReader client(false);
  cr_assert(!client.feed(raw::frame(raw::settings, 0, 0, raw::setting(2, 1)), push));
  cr_assert(push.text == "bad 1", "a server that would push");
}
