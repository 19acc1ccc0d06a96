// rpc/server_call.h - one call, server side: a stream becomes a request, a reply becomes the stream's answer.
#pragma once

#include <memory>
#include <optional>

#include "loop/loop.h"
#include "rpc/frame.h"
#include "rpc/router.h"

namespace nebula {

// Owns itself: it goes when its stream has closed and its handler has answered, whichever is later, and may outlive
// its server by a handler that takes its time.
class ServerCall final : public StreamEvents {
 public:
  ServerCall(Loop& loop, const Router& router, size_t message_bytes_max, Peer peer, std::unique_ptr<Stream> stream);

 private:
  ~ServerCall() = default;

  void on_headers(Head head, bool last) override;
  void on_data(Bytes data, bool last) override;
  void on_writable() override {}
  void on_closed(Status why, Fate fate) override;

  Status begin(const Head& head);       // not ok: how to answer without a handler
  void refuse_http(std::string_view http_status, std::string_view text);
  Status take(Bytes data);
  void dispatch();
  void finish(Response response);       // the first answer counts
  void send(Response response);         // with a stream to send it on
  void release_if_over();

  Loop& loop_;
  const Router& router_;
  Context context_;
  FrameReader reader_;
  std::unique_ptr<Stream> stream_;      // null: closed
  std::unique_ptr<Timer> deadline_timer_;

  const Method* method_ = nullptr;
  Metadata metadata_;
  std::optional<Bytes> message_;
  Codec codec_ = Codec::any;
  bool has_handler_ = false;            // a Reply of ours is out
  bool finished_ = false;
  bool closing_ = false;                // inside on_closed, which will see to the end itself
};

}  // namespace nebula
