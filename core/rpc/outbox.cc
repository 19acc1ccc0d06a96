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
    Run run;
    switch (source_->next_run(&run)) {
      case Source::Next::later: return;
      case Source::Next::message:
        has_begun_ = true;
        send(std::move(run));
        break;
      case Source::Next::end: {
        Fn<void(Ending)> then = std::exchange(ended_, nullptr);
        return then(std::move(source_->ending()));
      }
    }
  }
}

// What has its prefixes goes as it is, unless it is to be compressed, which each message is by itself.
void Outbox::send(Run run) {
  Encoding encoding = source_->wants_compression() ? encoding_ : Encoding::identity;
  bool is_ready = run.count > 1 && encoding == Encoding::identity;
  if (is_ready) return static_cast<void>(is_writable_ = stream_->data(std::move(run.bytes), false, run.count));
  while (run.count > 1) stream_->data(frame_message(take_first(&run), encoding), false);
  is_writable_ = stream_->data(frame_message(std::move(run.bytes), encoding), false);
}

}  // namespace nebula
