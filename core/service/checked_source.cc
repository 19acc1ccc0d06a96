// service/checked_source.cc - one message behind the other, each looked at once.
#include "service/checked_source.h"

namespace nebula {

CheckedSource::CheckedSource(std::unique_ptr<Source> messages, std::shared_ptr<Schema> schema, std::string method)
    : messages_(std::move(messages)), schema_(std::move(schema)), method_(std::move(method)) {
  messages_->on_ready([this] {
    if (messages_->is_cut()) return cut();
    ready();
  });
}

Status CheckedSource::look_ahead() {
  Bytes message;
  if (messages_->next(&message) != Next::message) return {};
  want_compression(messages_->wants_compression());
  Status status = schema_->check(method_, message.view());
  first_ = std::move(message);
  return status;
}

bool CheckedSource::rewind() {
  if (!messages_->rewind()) return false;
  first_.reset();
  return true;
}

Source::Next CheckedSource::take(Bytes* message) {
  if (failure_) return Next::end;
  if (first_) {
    *message = std::move(*first_);
    first_.reset();
    return Next::message;
  }
  Next next = messages_->next(message);
  if (next != Next::message) return next;
  want_compression(messages_->wants_compression());
  Status status = schema_->check(method_, message->view());
  if (status.ok()) return next;
  // The call is on its way already: that much of it may have been seen.
  failure_ = Ending{std::move(status), {}, Fate::unknown};
  return Next::end;
}

}  // namespace nebula
