// rpc/outbox.h - sends a stream of messages as fast as the peer takes it.
//
// A member of a call. Pulls from the source while the stream says that it may, so that what waits here is bounded. Keeps
// the source when it has come to its end, too, until it is told to stop: all of it may be wanted once more.
#pragma once

#include <memory>

#include "rpc/call.h"

namespace nebula {

class Outbox {
 public:
  // `ended` runs once, when the source has come to its end: it gets the ending and has to say the last word. It may
  // stop the outbox.
  void start(Stream& stream, std::unique_ptr<Source> source, Encoding encoding, Fn<void(Ending)> ended);
  void on_writable();  // the stream's event
  void stop();         // drops the source; nothing more is sent

  bool is_running() const { return static_cast<bool>(ended_); }  // the source has not come to its end
  void commit();                        // all that was sent stays sent
  std::unique_ptr<Source> take_back();  // for another try, from its first message; null: some of it is gone

 private:
  void pump();
  void send(Run run);

  Stream* stream_ = nullptr;
  Encoding encoding_ = Encoding::identity;
  std::unique_ptr<Source> source_;
  Fn<void(Ending)> ended_;
  bool is_writable_ = true;
  bool has_begun_ = false;  // a message has been pulled
};

}  // namespace nebula
