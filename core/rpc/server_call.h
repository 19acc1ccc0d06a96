// rpc/server_call.h - one call, server side: a stream becomes a request, a reply becomes the stream's answer.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "base/pool.h"
#include "loop/anchor.h"
#include "loop/loop.h"
#include "rpc/frame.h"
#include "rpc/inbox.h"
#include "rpc/outbox.h"
#include "rpc/router.h"

namespace nebula {

// What the calls of a server have in common, for as long as their connection is there.
struct ServerShare {
  ServerShare(Loop& loop, const Router& router, size_t message_bytes_max);

  ServerMetrics& counts_of(const Method* method);  // null: one that there is not

  Loop& loop;
  const Router& router;
  Pace pace;
  const size_t message_bytes_max;
  std::array<Metadata, 3> plain_heads;  // by Codec: of an answer that adds nothing
  Metadata ok_trailers;

 private:
  const Method* counted_ = nullptr;     // the last one, and where: the next call is to the same as a rule
  ServerMetrics* counts_ = nullptr;
};

// Owns itself: it goes when its stream has closed and its handler has answered, whichever is later, and may outlive
// its server by a handler that takes its time.
class ServerCall final : public Pooled, public StreamEvents, private InboxEvents {
 public:
  ServerCall(ServerShare& share, std::shared_ptr<const Peer> peer, std::unique_ptr<Stream> stream);

 private:
  ~ServerCall() = default;

  // StreamEvents
  void on_headers(Head head, bool last) override;
  void on_data(Bytes data, bool last) override;
  void on_writable() override { outbox_.on_writable(); }
  void on_closed(Status why, Fate fate) override;

  // InboxEvents
  void on_taken(size_t wire_bytes) override;
  void on_dropped(size_t wire_bytes) override;
  void on_broken(Status why) override;

  Status begin(const Head& head);       // not ok: how to answer without a handler
  void refuse_http(std::string_view http_status, std::string_view text);
  Status take(Bytes data);
  Status end_of_request();
  Status dispatch_message();            // the single one
  void watch_message();                 // one that has begun must end
  void dispatch(Body body);
  void answer(Response&& response);     // the handler's: all of it, or the beginning of a stream
  void finish(Response&& response);     // says the last word; the first one counts
  Code send(Response&& response);       // with a stream to send it on; as what it was sent
  Metadata head_of(const Response& response) const;
  void count_end(Code code);
  void abort(Status why);               // finishes in the handler's place, which hears of it
  void release_if_over();
  Anchor<ServerCall>::Ref ref();

  ServerShare& share_;
  Context context_;
  std::unique_ptr<Stream> stream_;      // kept while a handler runs: so long it counts against the peer's limit
  std::unique_ptr<Timer> deadline_timer_;

  const Method* method_ = nullptr;
  ServerMetrics* counts_ = nullptr;     // null: it is no call of gRPC, or is counted already
  const Time began_;
  Metadata metadata_;
  Codec codec_ = Codec::any;
  Metadata head_;                       // as it came, where accepted_ points into it
  std::string_view accepted_;           // encodings that the caller takes
  FrameReader reader_;                  // for a single request
  std::optional<Frame> message_;
  Inbox* inbox_ = nullptr;              // its reader's
  Outbox outbox_;
  bool was_dispatched_ = false;         // a handler knows of it
  bool has_handler_ = false;            // a Reply of ours is out
  bool has_sent_head_ = false;
  bool finished_ = false;
  bool is_closed_ = false;              // the stream is
  bool telling_ = false;                // inside an event that will see to the end itself
  std::optional<Anchor<ServerCall>> anchor_;  // where something is put off
};

}  // namespace nebula
