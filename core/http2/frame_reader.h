// http2/frame_reader.h - cuts what arrives into frames, and holds them to the rules that need no stream to be known.
//
// Those are preface, lengths, stream 0 or not, padding, the values of settings, and that header blocks come in one piece
// (RFC 9113, 3.4, 4 and 6). Nothing is put together: bodies and header blocks are handed on as they come. It also counts
// what a connection costs by frames that carry nothing, and knows whether it is inside one.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "http2/frames.h"

namespace nebula {

// What a frame says. False: read no further.
class H2FrameEvents {
 public:
  virtual bool on_body_begin(const h2::FrameHead& frame) = 0;  // DATA: its length counts whole
  virtual bool on_body(uint32_t id, std::string_view part) = 0;
  virtual bool on_body_end(uint32_t id, size_t padding, bool last) = 0;
  virtual bool on_head_begin(uint32_t id, bool last) = 0;
  virtual bool on_head(std::string_view part, bool is_whole) = 0;  // of the header block that has begun
  virtual bool on_reset(uint32_t id, uint32_t h2_code) = 0;
  virtual bool on_setting(uint16_t name, uint32_t value) = 0;
  virtual bool on_settings_end(bool is_ack) = 0;
  virtual bool on_ping(bool is_ack, std::string_view payload) = 0;
  virtual bool on_goaway(uint32_t last_id, uint32_t h2_code, std::string_view debug) = 0;
  virtual bool on_window_update(uint32_t id, uint32_t increment) = 0;
  virtual void on_bad_preface() = 0;                                  // this is no HTTP/2; the last event
  virtual void on_bad_frame(uint32_t h2_code, std::string_view why) = 0;  // an error of the connection; the last event

 protected:
  ~H2FrameEvents() = default;
};

class H2FrameReader {
 public:
  explicit H2FrameReader(bool is_server);

  // Takes the next bytes. False: it was told to stop, or has said what was bad; it is not to be fed again.
  bool feed(std::string_view bytes, H2FrameEvents& up);

  // One for each frame since it was asked last that makes work and carries nothing, less what each request brings in.
  int64_t take_cost() { return std::exchange(cost_, 0); }

  bool is_inside() const { return step_ != Step::preface && (step_ != Step::begin || kept_size_ > 0 || is_head_open_); }
  bool is_inside_head() const { return is_head_open_; }  // a header block is not complete
  uint64_t frames() const { return frames_; }            // begun so far

 private:
  // What comes next: the preface, a frame's nine bytes, as much of its payload as must be seen at once, its body or
  // header block, what is left of it.
  enum class Step : uint8_t { preface, begin, fixed, body, rest };

  // A client may answer what it gets with a WINDOW_UPDATE or two and a PING.
  static constexpr int64_t earned_by_request = 4;
  static constexpr size_t debug_bytes_max = 200;  // of a GOAWAY's words for people
  static constexpr size_t settings_bytes_max = limits::settings_entries_max * h2::setting_bytes;
  static constexpr size_t kept_max = 8 + debug_bytes_max;
  static_assert(settings_bytes_max <= kept_max);

  bool begin(H2FrameEvents& up);                            // frame_ is complete
  bool begin_body(H2FrameEvents& up);
  bool fixed(std::string_view payload, H2FrameEvents& up);  // the first want_ bytes of its payload are
  bool settings(std::string_view payload, H2FrameEvents& up);
  bool body(std::string_view part, H2FrameEvents& up);
  bool bad(uint32_t h2_code, std::string_view why, H2FrameEvents& up);
  bool want_exactly(size_t size, H2FrameEvents& up);
  void count();
  std::string_view gather(size_t size, std::string_view* bytes);

  const bool is_server_;
  Step step_;
  h2::FrameHead frame_;
  size_t want_ = h2::frame_head_bytes;  // bytes of what comes next, in begin and fixed
  size_t left_ = 0;                     // bytes of the frame that have not come, without padding
  size_t padding_ = 0;
  char kept_[kept_max];                 // the beginning of what comes next, where it comes in pieces
  size_t kept_size_ = 0;
  uint64_t frames_ = 0;
  int64_t cost_ = 0;
  uint32_t head_id_ = 0;                // the stream of the header block that has begun
  uint8_t continuations_ = 0;           // of it
  bool is_head_open_ = false;
  bool has_settings_ = false;
};

}  // namespace nebula
