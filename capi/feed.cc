// capi/feed.cc - in at one end, out at the other, and a word to the binding when it may go on.
#include "feed.h"

#include "queue.h"

namespace nebula {

Feed::Feed(CallRecord& record) : record_(&record), keeps_(record.side == Side::client) { record.out = this; }

Feed::~Feed() {
  if (record_ != nullptr) record_->out = nullptr;
}

void Feed::push(Run run, bool compress) {
  pieces_.push({std::move(run), compress});
  ready();
}

void Feed::end(Ending ending) {
  ending_ = std::move(ending);
  has_ended_ = true;
  ready();
}

Source::Next Feed::take(Bytes* message) {
  if (!open_) {
    Run run;
    if (Next next = take_run(&run); next != Next::message) return next;
    open_ = std::move(run);
  }
  bool is_last = open_->count == 1;
  *message = is_last ? std::move(open_->bytes) : take_first(&*open_);
  if (is_last) open_.reset();
  return Next::message;
}

// Whoever takes message by message goes on doing so.
Source::Next Feed::take_run(Run* run) {
  bool is_again = next_ < kept_.size();
  if (!is_again && pieces_.empty()) return has_ended_ ? Next::end : Next::later;
  Piece next = is_again ? kept_[next_++] : pieces_.pop();
  if (!is_again) {
    if (keeps_) keep(next);
    if (record_ != nullptr) record_->on_sent(next.run.bytes.size());
  }
  if (!keeps_) forget();
  *run = std::move(next.run);
  want_compression(next.compress);
  return Next::message;
}

void Feed::keep(const Piece& piece) {
  kept_bytes_ += piece.run.bytes.size() + sizeof piece;
  if (kept_bytes_ > limits::replay_bytes_max) return commit();
  kept_.push_back(piece);
  next_ = kept_.size();
}

bool Feed::rewind() {
  if (keeps_) {
    next_ = 0;
    open_.reset();
  }
  return keeps_;
}

void Feed::commit() {
  keeps_ = false;
  forget();
}

// Not what is just being given again.
void Feed::forget() {
  if (kept_.empty() || next_ < kept_.size()) return;
  kept_ = {};
  next_ = 0;
}

}  // namespace nebula
