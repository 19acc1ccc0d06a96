// rpc/outbox.cc - from a source to a stream, message by message.
#include "rpc/outbox.h"

#include "rpc/frame.h"

namespace nebula {

void Outbox::start(Stream& stream, std::unique_ptr<Source> source, Encoding encoding, Fn<void(Ending)> ended) {
  stream_ = &stream;
  encoding_ = encoding;
  source_ = std::move(source);
  ended_ = std::move(ended);
  source_->on_ready([this] { pump(); });
  pump();
}

void Outbox::on_writable() {
  is_writable_ = true;
  if (is_running()) pump();
}

void Outbox::stop() {
  std::unique_ptr<Source> gone = std::move(source_);
  ended_ = nullptr;
}

void Outbox::commit() {
  if (source_ == nullptr) return;
  source_->commit();
  if (!is_running()) stop();
}

std::unique_ptr<Source> Outbox::take_back() {
  if (source_ == nullptr || (has_begun_ && !source_->rewind())) return nullptr;
  source_->on_ready(nullptr);
  ended_ = nullptr;
  return std::move(source_);
}

void Outbox::pump() {
  while (is_writable_ && is_running()) {
    Bytes message;
    switch (source_->next(&message)) {
      case Source::Next::later: return;
      case Source::Next::message:
        has_begun_ = true;
        is_writable_ = stream_->data(
            frame_message(std::move(message), source_->wants_compression() ? encoding_ : Encoding::identity), false);
        break;
      case Source::Next::end: {
        Fn<void(Ending)> then = std::exchange(ended_, nullptr);
        return then(std::move(source_->ending()));
      }
    }
  }
}

}  // namespace nebula
