// capi/feed.cc - in at one end, out at the other, and a word to the binding when it may go on.
#include "feed.h"

#include "queue.h"

namespace nebula {

Feed::Feed(CallRecord& record) : record_(&record) { record.out = this; }

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
  if (messages_.empty()) return has_ended_ ? Next::end : Next::later;
  Message next = messages_.pop();
  *message = std::move(next.bytes);
  want_compression(next.compress);
  if (record_ != nullptr) record_->on_sent(message->size());
  return Next::message;
}

}  // namespace nebula
