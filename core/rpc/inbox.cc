// rpc/inbox.cc - chunks in, messages out, credit back.
#include "rpc/inbox.h"

#include <algorithm>

namespace nebula {

Inbox::~Inbox() {
  if (call_ != nullptr) call_->on_dropped(uncredited_);
}

Status Inbox::feed(Bytes chunk) {
  uncredited_ += chunk.size();
  reader_.feed(std::move(chunk));
  while (true) {
    TRY(std::optional<Bytes> message, reader_.next());
    if (!message) break;
    messages_.push_back(std::move(*message));
  }
  if (!messages_.empty()) {
    ready();
  } else {
    // A message may be larger than the window, so what is not whole holds up nothing; it has a limit of its own.
    call_->on_taken(std::exchange(uncredited_, 0));
  }
  return {};
}

void Inbox::finish(Ending ending) {
  call_ = nullptr;
  ending_ = std::move(ending);
  ready();
}

void Inbox::cut(Ending ending) {
  messages_.clear();
  call_ = nullptr;
  ending_ = std::move(ending);
  Source::cut();
}

Source::Next Inbox::take(Bytes* message) {
  if (messages_.empty()) return call_ == nullptr ? Next::end : Next::later;
  *message = std::move(messages_.front());
  messages_.pop_front();
  size_t credit = messages_.empty() ? uncredited_ : std::min(uncredited_, message->size() + frame_prefix_bytes);
  uncredited_ -= credit;
  if (call_ != nullptr && credit > 0) call_->on_taken(credit);
  return Next::message;
}

}  // namespace nebula
