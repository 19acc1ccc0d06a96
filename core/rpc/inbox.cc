// rpc/inbox.cc - chunks in, messages out, credit back.
#include "rpc/inbox.h"

#include <algorithm>

namespace nebula {

Inbox::~Inbox() {
  if (call_ != nullptr) call_->on_dropped(has_all_ ? 0 : uncredited_);
}

Status Inbox::feed(Bytes chunk) {
  if (is_broken_) return {};
  uncredited_ += chunk.size();
  reader_.feed(std::move(chunk));
  while (true) {
    if (std::optional<Run> run = reader_.next_run()) frames_.push(std::move(*run));
    TRY(std::optional<Frame> frame, reader_.next());
    if (!frame) break;
    frames_.push(std::move(*frame));
  }
  if (!frames_.empty()) {
    ready();
  } else {
    // A message may be larger than the window, so what is not whole holds up nothing; it has a limit of its own.
    call_->on_taken(std::exchange(uncredited_, 0));
  }
  return {};
}

void Inbox::end() {
  has_all_ = true;
  ready();
}

void Inbox::finish(Ending ending) {
  call_ = nullptr;
  if (!is_broken_) ending_ = std::move(ending);
  ready();
}

void Inbox::cut(Ending ending) {
  call_ = nullptr;
  if (has_all_ && !is_broken_) return;
  frames_.clear();
  if (!is_broken_) ending_ = std::move(ending);
  Source::cut();
}

Source::Next Inbox::take(Bytes* message) {
  if (frames_.empty()) return call_ == nullptr || (has_all_ && !is_broken_) ? Next::end : Next::later;
  if (frames_.next_is_compressed() && must_wait()) return Next::later;
  Frame frame = frames_.pop();
  credit(frame.payload.size() + frame_prefix_bytes);
  Result<Bytes> opened = reader_.open(std::move(frame), call_ != nullptr ? pace_ : nullptr);
  if (!opened.ok()) return give_up(opened.status());
  *message = std::move(*opened);
  return Next::message;
}

Source::Next Inbox::take_run(Run* run) {
  if (frames_.empty() || !frames_.next_is_run()) return Source::take_run(run);
  *run = frames_.pop_run();
  credit(run->bytes.size());
  return Next::message;
}

void Inbox::credit(size_t wire_bytes) {
  size_t due = frames_.empty() ? uncredited_ : std::min(uncredited_, wire_bytes);
  uncredited_ -= due;
  if (call_ != nullptr && !has_all_ && due > 0) call_->on_taken(due);
}

bool Inbox::must_wait() {
  if (call_ == nullptr || pace_ == nullptr || pace_->may_go()) return false;
  if (std::exchange(is_waiting_, true)) return true;
  if (!anchor_) anchor_.emplace(*this);
  pace_->wait([self = anchor_->ref()] {
    Inbox* inbox = self.get();
    if (inbox == nullptr) return;
    inbox->is_waiting_ = false;
    inbox->ready();
  });
  return true;
}

Source::Next Inbox::give_up(Status why) {
  frames_.clear();
  is_broken_ = true;
  ending_ = {why, {}, Fate::processed};
  if (call_ == nullptr) return Next::end;
  call_->on_broken(std::move(why));
  return Next::later;
}

}  // namespace nebula
