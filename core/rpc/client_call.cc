// rpc/client_call.cc - request to headers, trailers to status, and the words when a call ends otherwise.
#include "rpc/client_call.h"

#include "rpc/frame.h"
#include "rpc/grpc.h"

namespace nebula {

namespace {

// Owns itself: it goes with the last event of its stream.
class ClientCall final : public StreamEvents {
 public:
  ClientCall(Loop& loop, size_t message_bytes_max) : loop_(loop), reader_(message_bytes_max) {}

  Status start(Session& session, Metadata head, Request& request, Reply& reply);

 private:
  void on_headers(Head head, bool last) override;
  void on_data(Bytes data, bool last) override;
  void on_writable() override {}
  void on_closed(Status why, Fate fate) override;

  Status begin(const Head& head);
  Status take(Bytes data);
  void end(const Metadata& trailers);   // the peer has said how it went
  void fail(Status why, Fate fate);     // it has not, or we do not want to hear it
  void answer(Response response);

  Loop& loop_;
  FrameReader reader_;
  Reply reply_;
  Context* context_ = nullptr;          // null: answered
  Time deadline_;
  std::unique_ptr<Stream> stream_;
  Metadata metadata_;
  std::optional<Bytes> message_;
  std::string http_status_;
};

Status ClientCall::start(Session& session, Metadata head, Request& request, Reply& reply) {
  Result<std::unique_ptr<Stream>> stream = session.open(*this);
  if (!stream.ok()) return stream.status();
  stream_ = std::move(*stream);
  reply_ = std::move(reply);
  deadline_ = request.context->deadline();
  context_ = request.context;
  context_->set_peer(session.peer());
  Bytes* message = std::get_if<Bytes>(&request.body);
  stream_->headers(std::move(head), message == nullptr);
  if (message != nullptr) stream_->data(frame_message(std::move(*message)), true);
  // Last, for it may have been cancelled already: then the stream is reset before any of it has left.
  context_->on_cancel([this](const Status& why) { fail(why, Fate::unknown); });
  return {};
}

void ClientCall::on_headers(Head head, bool last) {
  if (context_ == nullptr) return;
  if (head.too_large) return fail(resource_exhausted("the metadata of the answer is over our limit"), Fate::processed);
  if (http_status_.empty()) {
    std::string_view http_status = head.fields.find(":status").value_or("");
    if (http_status.starts_with('1')) return;  // informational; the answer is still to come
    http_status_ = http_status;
    if (!last) {
      if (Status status = begin(head); !status.ok()) fail(std::move(status), Fate::processed);
      return;
    }
  }
  if (last) end(head.fields);
}

Status ClientCall::begin(const Head& head) {
  if (http_status_ != "200") return grpc::find_status(head.fields).value_or(grpc::status_of_http(http_status_));
  std::string_view type = head.fields.find("content-type").value_or("");
  if (!grpc::codec_of(type))
    return {Code::unknown, "the peer answered with content-type \"" + std::string(type) + "\", not gRPC"};
  if (std::string_view encoding = head.fields.find("grpc-encoding").value_or("identity"); encoding != "identity")
    return internal("the peer compressed with \"" + std::string(encoding) + "\", which was not offered");
  TRY(metadata_, grpc::from_wire(head.fields));
  return {};
}

void ClientCall::on_data(Bytes data, bool last) {
  stream_->consumed(data.size());
  if (context_ == nullptr) return;
  Status status = data.empty() ? Status() : take(std::move(data));
  if (!status.ok()) return fail(std::move(status), Fate::processed);
  if (last) fail(internal("the peer ended the stream without a status"), Fate::processed);
}

Status ClientCall::take(Bytes data) {
  reader_.feed(std::move(data));
  while (true) {
    TRY(std::optional<Bytes> message, reader_.next());
    if (!message) return {};
    if (message_) return unimplemented("a unary method answers with one message, more came");
    message_ = std::move(message);
  }
}

void ClientCall::end(const Metadata& trailers) {
  Response response;
  response.status = grpc::find_status(trailers).value_or(grpc::status_of_http(http_status_));
  if (response.status.ok() && reader_.is_inside())
    response.status = internal("the answer ends inside a message");
  else if (response.status.ok() && !message_)
    response.status = unimplemented("a unary method answers with one message, none came");
  Result<Metadata> user = grpc::from_wire(trailers);
  if (user.ok())
    response.trailers = std::move(*user);
  else if (response.status.ok())
    response.status = user.status();
  response.metadata = std::move(metadata_);
  if (response.status.ok()) response.body = std::move(*message_);
  answer(std::move(response));
}

void ClientCall::fail(Status why, Fate fate) {
  if (stream_ != nullptr) stream_->reset(h2::cancel);
  Response response;
  response.status = std::move(why);
  response.fate = fate;
  answer(std::move(response));
}

void ClientCall::answer(Response response) {
  context_->on_cancel(nullptr);
  context_ = nullptr;
  Reply reply = std::move(reply_);
  reply(std::move(response));
}

void ClientCall::on_closed(Status why, Fate fate) {
  stream_.reset();
  if (context_ != nullptr) {
    if (why.ok()) why = internal("the peer ended the stream without a status");
    // A server that keeps deadlines too resets the stream a moment before our own timer fires.
    if (why.code() == Code::cancelled && loop_.now() >= deadline_)
      why = deadline_exceeded("the deadline passed at the server");
    fail(std::move(why), fate);
  }
  delete this;
}

Metadata head_of(Loop& loop, std::string_view authority, const Request& request) {
  Metadata head;
  head.add(":method", "POST");
  head.add(":scheme", "http");
  head.add(":path", request.method->path);
  head.add(":authority", authority);
  head.add("te", "trailers");
  head.add("content-type", grpc::content_type(request.codec, request.metadata));
  if (!request.metadata.find("user-agent")) head.add("user-agent", "nebula/" NEBULA_VERSION);
  Time deadline = request.context->deadline();
  if (!deadline.is_never()) head.add("grpc-timeout", grpc::format_timeout(deadline - loop.now()));
  grpc::to_wire(request.metadata, &head);
  return head;
}

}  // namespace

Status start_client_call(Loop& loop, Session& session, std::string_view authority, size_t message_bytes_max,
                         Request& request, Reply& reply) {
  Metadata head = head_of(loop, authority, request);
  if (size_t most = session.metadata_bytes_max(); head.list_size() > most) {
    Response refusal;
    refusal.status = resource_exhausted("metadata of " + std::to_string(head.list_size()) + " bytes is over the " +
                                        std::to_string(most) + " that the peer takes");
    refusal.fate = Fate::unsent;
    // In a later step: whoever places calls must not find itself destroyed by the answer to one.
    loop.later([answered = std::move(reply), refusal = std::move(refusal)]() mutable { answered(std::move(refusal)); });
    return {};
  }
  std::unique_ptr<ClientCall> call = std::make_unique<ClientCall>(loop, message_bytes_max);
  Status status = call->start(session, std::move(head), request, reply);
  if (status.ok()) static_cast<void>(call.release());  // its own from here
  return status;
}

}  // namespace nebula
