// capi/feed.h - the messages of a binding on their way to their stream.
//
// Filled as the binding submits, pulled by the call's outbox as the peer takes them. Lives on the call's loop.
#pragma once

#include "base/fifo.h"
#include "base/pool.h"
#include "rpc/call.h"

namespace nebula {

struct CallRecord;

class Feed final : public Pooled, public Source {
 public:
  explicit Feed(CallRecord& record);  // until whichever of the two goes first
  ~Feed() override;

  void push(Bytes message, bool compress);
  void end(Ending ending);  // after what was pushed
  void detach() { record_ = nullptr; }

  Ending& ending() override { return ending_; }

 private:
  struct Message {
    Bytes bytes;
    bool compress;
  };

  Next take(Bytes* message) override;

  CallRecord* record_;
  Fifo<Message> messages_;
  Ending ending_;
  bool has_ended_ = false;
};

}  // namespace nebula
