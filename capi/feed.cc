// capi/feed.cc - in at one end, out at the other, and a word to the binding when it may go on.
#include "feed.h"

#include "queue.h"

namespace nebula {

Feed::Feed(CallRecord& record) : record_(&record), keeps_(record.side == Side::client) { record.out = this; }

Feed::~Feed() {
  if (record_ != nullptr) record_->out = nullptr;
}

void Feed::push(Bytes message, bool compress) {
  messages_.push({std::move(message), compress});
  ready();
}

void Feed::end(Ending ending) {
  ending_ = std::move(ending);
  has_ended_ = true;
  ready();
}

Source::Next Feed::take(Bytes* message) {
  bool is_again = next_ < kept_.size();
  if (!is_again && messages_.empty()) return has_ended_ ? Next::end : Next::later;
  Message next = is_again ? kept_[next_++] : messages_.pop();
  if (!is_again) {
    if (keeps_) keep(next);
    if (record_ != nullptr) record_->on_sent(next.bytes.size());
  }
  if (!keeps_) forget();
  *message = std::move(next.bytes);
  want_compression(next.compress);
  return Next::message;
}

void Feed::keep(const Message& message) {
  kept_bytes_ += message.bytes.size() + sizeof message;
  if (kept_bytes_ > limits::replay_bytes_max) return commit();
  kept_.push_back(message);
  next_ = kept_.size();
}

bool Feed::rewind() {
  if (keeps_) next_ = 0;
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
