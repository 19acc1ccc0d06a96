// capi/feed.h - the messages of a binding on their way to their stream.
//
// Filled as the binding submits, pulled by the call's outbox as the peer takes them. A client's keeps what was pulled, as
// long as it is little, until the call is committed: a server may refuse the call, and another one gets it from the start
// (gRFC A6, transparent retries). Lives on the call's loop.
#pragma once

#include <optional>
#include <vector>

#include "base/fifo.h"
#include "base/pool.h"
#include "rpc/call.h"

namespace nebula {

struct CallRecord;

class Feed final : public Pooled, public Source {
 public:
  explicit Feed(CallRecord& record);  // until whichever of the two goes first
  ~Feed() override;

  void push(Run run, bool compress);
  void end(Ending ending);  // after what was pushed
  void detach() { record_ = nullptr; }

  Ending& ending() override { return ending_; }
  bool rewind() override;
  void commit() override;

 private:
  struct Piece {
    Run run;
    bool compress;
  };

  Next take(Bytes* message) override;
  Next take_run(Run* run) override;

  void keep(const Piece& piece);
  void forget();

  CallRecord* record_;
  Fifo<Piece> pieces_;
  std::optional<Run> open_;    // one that is being taken message by message
  std::vector<Piece> kept_;    // what was taken before them
  size_t kept_bytes_ = 0;
  size_t next_ = 0;            // of those that are kept, to be given again
  bool keeps_;
  Ending ending_;
  bool has_ended_ = false;
};

}  // namespace nebula
