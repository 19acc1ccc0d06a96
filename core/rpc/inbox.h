// rpc/inbox.h - the messages of a stream that have arrived and have not been taken.
//
// Owned by whoever reads them, fed by the call. What they occupy is bounded by the stream's window, for the peer gets
// its credit back as they are taken.
#pragma once

#include "base/pool.h"
#include "loop/anchor.h"
#include "rpc/backlog.h"
#include "rpc/call.h"
#include "rpc/frame.h"

namespace nebula {

// What an inbox tells its call. Neither comes once the call has finished it.
struct InboxEvents {
  virtual void on_taken(size_t wire_bytes) = 0;    // the peer may send so much more
  virtual void on_dropped(size_t wire_bytes) = 0;  // so much was not taken, and the reader does not want the rest
  virtual void on_broken(Status why) = 0;          // a message cannot be inflated; it is to cut() in a later step

 protected:
  ~InboxEvents() = default;
};

class Inbox final : public Pooled, public Source {
 public:
  // The pace, where there is one, outlives the call.
  Inbox(InboxEvents& call, size_t message_bytes_max, Encoding encoding = Encoding::identity, Pace* pace = nullptr)
      : call_(&call), pace_(pace), reader_(message_bytes_max, encoding) {}
  ~Inbox() override;

  Ending& ending() override { return ending_; }

  // The call's part. Each may end in the inbox being destroyed by its reader.
  Status feed(Bytes chunk);          // not ok: these are no messages, or too large ones; finish() it with that
  void end();                        // the peer has sent all; the call goes on
  void finish(Ending ending);        // the call is over, after what has arrived
  void cut(Ending ending);           // it is over at once: unless all had come, what was not taken is dropped
  bool is_inside() const { return reader_.is_inside(); }
  // The rest of a message is to come, and the peer has the credit to send it.
  bool awaits_rest() const { return frames_.empty() && !has_all_ && !is_broken_ && reader_.is_inside(); }

 private:
  Next take(Bytes* message) override;
  Next take_run(Run* run) override;
  void credit(size_t wire_bytes);
  Next give_up(Status why);
  bool must_wait();                  // with inflating a message

  InboxEvents* call_;                // null: it is over
  Pace* const pace_;
  FrameReader reader_;
  Backlog frames_;
  bool has_all_ = false;             // the peer will send no more
  bool is_broken_ = false;           // `ending_` tells why
  size_t uncredited_ = 0;            // bytes that have arrived and for which the peer has no new credit yet
  Ending ending_;
  std::optional<Anchor<Inbox>> anchor_;  // where it has had to wait
  bool is_waiting_ = false;
};

}  // namespace nebula
