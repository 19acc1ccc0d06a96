// http2/h2_frames.cc - frames that come, but for header blocks: they become events of streams, or change windows.
#include <algorithm>

#include "base/limits.h"
#include "http2/h2_session.h"

namespace nebula {

Status status_of_h2(uint32_t code) {
  std::string text = "the peer reset the stream (" + std::string(h2::name_of_error(code)) + ")";
  switch (code) {
    case h2::refused_stream: return unavailable(std::move(text));
    case h2::cancel: return cancelled(std::move(text));
    case h2::enhance_your_calm: return resource_exhausted(std::move(text));
    case h2::inadequate_security: return {Code::permission_denied, std::move(text)};
    default: return internal(std::move(text));
  }
}

// ---- DATA

bool H2Session::on_body_begin(const h2::FrameHead& frame) {
  if (!credit_.take(frame.length, limits::connection_window_bytes))
    return fail(h2::flow_control_error, "more than the connection's window");
  H2Stream* stream = find(frame.id);
  if (stream == nullptr) return may_be_late(frame.id);
  if (stream->peer_ended_) return fail(h2::stream_closed, "DATA after the end");
  if (stream->is_resetting_) return true;
  if (!is_server_ && !stream->has_peers_head_) return fail(h2::protocol_error, "DATA before the response");
  return stream->credit_.take(frame.length, stream->window_.bytes) || refuse(stream, h2::flow_control_error);
}

bool H2Session::on_body(uint32_t id, std::string_view part) {
  give_back(part.size());
  H2Stream* stream = find(id);
  if (stream == nullptr || stream->is_resetting_) return true;
  stream->received_ += part.size();
  if (stream->promised_ >= 0 && stream->received_ > static_cast<uint64_t>(stream->promised_))
    return refuse(stream, h2::protocol_error);
  on_stream_bytes(stream, part.size());
  bool is_large = part.size() >= limits::slice_bytes_min;
  Bytes bytes = is_large ? reading_->slice(static_cast<size_t>(part.data() - reading_->data()), part.size())
                         : Bytes::copy(part);
  stream->events_->on_data(std::move(bytes), false);
  return goes_on();
}

bool H2Session::on_body_end(uint32_t id, size_t padding, bool last) {
  give_back(padding);
  H2Stream* stream = find(id);
  if (stream == nullptr || stream->is_resetting_) return true;
  if (padding > 0) stream->consumed(padding);
  if (!last) return true;
  if (!ends_as_promised(stream)) return refuse(stream, h2::protocol_error);
  stream->peer_ended_ = true;
  stream->events_->on_data({}, true);
  end_if_both(id);
  return goes_on();
}

// A body is as long as its head has said (RFC 9113, 8.1.1).
bool H2Session::ends_as_promised(const H2Stream* stream) const {
  return stream->promised_ < 0 || stream->received_ == static_cast<uint64_t>(stream->promised_);
}

// The connection's credit returns on receipt, so that a stream that is not read holds up nobody else.
void H2Session::give_back(size_t bytes) {
  uint32_t increment = credit_.give_back(bytes, limits::connection_window_bytes);
  if (increment > 0) writer_.number_frame(h2::window_update_frame, 0, increment);
}

bool H2Session::refuse(H2Stream* stream, uint32_t h2_code) {
  stream->reset(h2_code);
  return charge(wasted_streams_, "too many bad frames");
}

// ---- the others

bool H2Session::on_reset(uint32_t id, uint32_t h2_code) {
  if (is_idle(id)) return fail(h2::protocol_error, "RST_STREAM of a stream that is not open");
  H2Stream* stream = find(id);
  if (stream == nullptr) return true;
  // Rapid reset (CVE-2023-44487): opened and taken back at once, again and again.
  bool is_rapid = is_server_ && loop_.now() - stream->opened_ < limits::early_reset;
  close_by(stream, h2_code);
  constexpr std::string_view too_many = "too many calls were cancelled at once";
  return !is_server_ || (charge(resets_, too_many) && charge(wasted_streams_, too_many, is_rapid ? 1 : 0));
}

bool H2Session::on_setting(uint16_t name, uint32_t value) {
  switch (name) {
    case h2::header_table_size: encoder_.limit_table(value); break;
    case h2::max_concurrent_streams: peers_streams_max_ = value; break;
    case h2::max_header_list_size: peers_metadata_max_ = value; break;
    case h2::initial_window_size: {
      int64_t change = value - std::exchange(peers_window_, value);
      bool is_miser = value < limits::miser_window_bytes;
      body_room_->limit(is_miser ? limits::miser_bodies_bytes_max : limits::session_bodies_bytes_max);
      for (H2Stream* stream = streams_; stream != nullptr; stream = stream->next_) {
        stream->send_window_ += change;
        if (stream->send_window_ > h2::window_max) return fail(h2::flow_control_error, "a window overflows");
        ready_by_window(stream);
      }
      break;
    }
  }
  return true;
}

bool H2Session::on_settings_end(bool is_ack) {
  if (is_ack) return settings_out_-- > 0 || fail(h2::protocol_error, "settings are acknowledged that were not sent");
  writer_.frame(h2::settings_frame, h2::flag_ack, 0, {});
  quota_.on_settings(peers_streams_max_);
  if (!std::exchange(has_settings_, true)) up_.on_settings();
  return goes_on();
}

bool H2Session::on_ping(bool is_ack, std::string_view payload) {
  if (!is_ack) writer_.frame(h2::ping_frame, h2::flag_ack, 0, payload);
  // The peer has seen the first GOAWAY, so what it opened before has arrived: the second can name the last.
  if (is_ack && payload == drain_ping && draining_ && is_server_) say_last();
  if (is_ack && payload == bdp_ping) on_bdp_answer();
  if (!is_ack && is_server_ && !strikes_.allows(loop_.now(), open_count_ > 0))
    shut(h2::enhance_your_calm, too_many_pings);
  return goes_on();
}

bool H2Session::on_goaway(uint32_t last_id, uint32_t h2_code, std::string_view debug) {
  bool is_ours = last_id == 0 || last_id == h2::stream_id_mask || (last_id % 2 == 1) != is_server_;
  if (!is_ours || last_id > peers_last_id_) return fail(h2::protocol_error, "GOAWAY with a wrong stream");
  peers_last_id_ = last_id;
  pinged_too_often_ |= h2_code == h2::enhance_your_calm && debug == too_many_pings;
  fail_by(peer().address + " ended the connection", h2_code, debug);
  if (!std::exchange(going_away_, true)) up_.on_draining();
  // What it has not seen, and will not.
  std::vector<uint32_t> left_out;
  for (H2Stream* stream = streams_; stream != nullptr; stream = stream->next_)
    if (!is_server_ && stream->is_on_wire_ && stream->id_ > last_id) left_out.push_back(stream->id_);
  std::sort(left_out.begin(), left_out.end());
  for (uint32_t id : left_out)
    if (H2Stream* stream = find(id)) close(stream, status_of_h2(h2::refused_stream), Fate::unprocessed);
  return goes_on();
}

bool H2Session::on_window_update(uint32_t id, uint32_t increment) {
  if (increment == 0) return fail(h2::protocol_error, "a WINDOW_UPDATE of nothing");
  if (id == 0) {
    send_window_ += increment;
    if (send_window_ > h2::window_max) return fail(h2::flow_control_error, "a window overflows");
    bulk_.take_all(&starved_);
    return true;
  }
  H2Stream* stream = find(id);
  if (stream == nullptr) return !is_idle(id) || fail(h2::protocol_error, "WINDOW_UPDATE of a stream that is not open");
  stream->send_window_ += increment;
  if (stream->send_window_ > h2::window_max) return refuse(stream, h2::flow_control_error);
  ready_by_window(stream);
  return true;
}

}  // namespace nebula
