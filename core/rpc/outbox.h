// rpc/outbox.h - sends a stream of messages as fast as the peer takes it.
//
// A member of a call. Pulls from the source while the stream says that it may, so that what waits here is bounded.
#pragma once

#include <memory>

#include "rpc/call.h"

namespace nebula {

class Outbox {
 public:
  // `ended` runs once, when the source has come to its end: it gets the ending and has to say the last word.
  void start(Stream& stream, std::unique_ptr<Source> source, Encoding encoding, Fn<void(Ending)> ended);
  void on_writable();  // the stream's event
  void stop();         // drops the source; nothing more is sent

  bool is_running() const { return source_ != nullptr; }
  bool has_begun() const { return has_begun_; }  // a message has been pulled
  std::unique_ptr<Source> take_back();           // where none has

 private:
  void pump();

  Stream* stream_ = nullptr;
  Encoding encoding_ = Encoding::identity;
  std::unique_ptr<Source> source_;
  Fn<void(Ending)> ended_;
  bool is_writable_ = true;
  bool has_begun_ = false;
};

}  // namespace nebula
