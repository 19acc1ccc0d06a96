// http2/h2_stalls.cc - clients that send or take too little, looked for while there is something to see.
//
// A slow reader of a stream that lives is no attacker, and back-pressure is his. But an answer whose handler has ended
// and an output buffer that is full are kept for nobody when the peer takes next to nothing of them; and a frame or a
// message that never gets complete keeps a connection or a stream for nothing.
#include <algorithm>

#include "base/limits.h"
#include "http2/h2_session.h"

namespace nebula {

namespace {

constexpr size_t bytes_per_look_min = static_cast<size_t>(limits::rate_min * (limits::stall_look_interval.ms() / 1000));
constexpr int looks_of(Duration time) { return static_cast<int>(time.ns / limits::stall_look_interval.ns); }

}  // namespace

int Stall::look(uint64_t bytes_so_far, bool is_watched) {
  looks_ = is_watched && bytes_so_far - bytes_ < bytes_per_look_min ? looks_ + 1 : 0;
  bytes_ = bytes_so_far;
  return looks_;
}

bool H2Session::owes_output() const {
  return ending_count_ > 0 || !has_room() || (open_count_ == 0 && conn_->unsent() > 0);
}

void H2Session::watch_stalls() {
  if (!is_server_ || stall_timer_ != nullptr || !(reader_.is_inside() || awaiting_count_ > 0 || owes_output())) return;
  stall_timer_ = loop_.after(limits::stall_look_interval, [this] { look_for_stalls(); });
}

void H2Session::look_for_stalls() {
  stall_timer_.reset();
  if (ending_ || ended_ || shut_) return;
  bool is_same_frame = reader_.is_inside() && reader_.frames() == std::exchange(frames_at_look_, reader_.frames());
  Duration patience = reader_.is_inside_head() ? limits::head_timeout : limits::stall_timeout;
  if (reading_stall_.look(bytes_read_, is_same_frame) >= looks_of(patience))
    return shut(h2::enhance_your_calm, "what was begun was not sent in time");
  bool keeps_output = !has_room() || (open_count_ == 0 && conn_->unsent() > 0);
  if (writing_stall_.look(writer_.flushed() - conn_->unsent(), keeps_output) >= looks_of(limits::stall_timeout))
    return end(unavailable("the connection to " + peer().address + " was closed: its answers were not read in time"));
  for (H2Stream* stream = streams_; stream != nullptr; stream = stream->next_) {
    int sending = stream->sending_stall_.look(stream->body_taken_, stream->body_ended_);
    int receiving = stream->receiving_stall_.look(stream->received_, stream->awaits_rest_);
    if (std::max(sending, receiving) >= looks_of(limits::stall_timeout)) stream->reset(h2::cancel);
  }
  watch_stalls();
}

}  // namespace nebula
