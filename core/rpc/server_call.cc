// rpc/server_call.cc - headers to request, reply to trailers, and all the ways in which a call can end early.
#include "rpc/server_call.h"

#include <algorithm>

#include "base/limits.h"
#include "rpc/grpc.h"

namespace nebula {

namespace {

Response refusal(Status why) { return {{}, {}, {}, std::move(why)}; }

}  // namespace

ServerCall::ServerCall(Loop& loop, const Router& router, size_t message_bytes_max, Peer peer,
                       std::unique_ptr<Stream> stream)
    : loop_(loop),
      router_(router),
      context_(Time::never(), std::move(peer)),
      reader_(message_bytes_max),
      stream_(std::move(stream)) {}

void ServerCall::on_headers(Head head, bool last) {
  if (finished_) return;
  if (method_ != nullptr) {  // trailers mean nothing in gRPC, but they are an end
    if (last) on_data({}, true);
    return;
  }
  Status status = begin(head);
  if (status.ok() && !finished_ && last) status = unimplemented("a unary method takes one message, none came");
  if (!status.ok()) finish(refusal(std::move(status)));
}

Status ServerCall::begin(const Head& head) {
  const Metadata& fields = head.fields;
  std::string_view type = fields.find("content-type").value_or("");
  std::optional<Codec> codec = grpc::codec_of(type);
  if (fields.find(":method") != "POST") {
    refuse_http("405", "gRPC calls are POST requests");
    return {};
  }
  if (!codec && !head.too_large) {
    refuse_http("415", "content-type \"" + std::string(type) + "\" is not one of application/grpc, +proto, +json");
    return {};
  }
  codec_ = codec.value_or(Codec::any);
  if (head.too_large)
    return resource_exhausted("metadata is over the limit of " + std::to_string(limits::metadata_bytes_max) +
                              " bytes or " + std::to_string(limits::metadata_fields_max) + " fields");
  std::string_view path = fields.find(":path").value_or("");
  method_ = router_.find(path);
  if (method_ == nullptr) return router_.unknown(path);
  if (std::string_view encoding = fields.find("grpc-encoding").value_or("identity"); encoding != "identity")
    return unimplemented("grpc-encoding \"" + std::string(encoding) + "\" is not supported; known: identity");
  if (std::optional<std::string_view> text = fields.find("grpc-timeout")) {
    std::optional<Duration> left = grpc::parse_timeout(*text);
    if (!left) return internal("grpc-timeout \"" + std::string(*text) + "\" is malformed");
    context_.set_deadline(loop_.now() + *left);
    if (!context_.deadline().is_never())
      deadline_timer_ = loop_.after(*left, [this] {
        Status why = deadline_exceeded("the deadline passed while the call was at the server");
        finish(refusal(why));
        context_.cancel(std::move(why));
      });
  }
  TRY(metadata_, grpc::from_wire(fields));
  return {};
}

// Not a gRPC request: answered as HTTP, with a grpc-status for clients that look for one.
void ServerCall::refuse_http(std::string_view http_status, std::string_view text) {
  finished_ = true;
  Metadata head;
  head.add(":status", http_status);
  head.add("content-type", "text/plain");
  grpc::add_status(Status(grpc::status_of_http(http_status).code(), std::string(text)), &head);
  stream_->headers(std::move(head), false);
  stream_->data(Bytes::copy(std::string(text) + "\n"), true);
}

void ServerCall::on_data(Bytes data, bool last) {
  // The message is kept here, bounded by its own limit: the window is for who has not been read.
  stream_->consumed(data.size());
  if (finished_) return;
  Status status = data.empty() ? Status() : take(std::move(data));
  if (status.ok() && last) {
    if (reader_.is_inside()) status = internal("the request ends inside a message");
    else if (!message_) status = unimplemented("a unary method takes one message, none came");
    else return dispatch();
  }
  if (!status.ok()) finish(refusal(std::move(status)));
}

Status ServerCall::take(Bytes data) {
  reader_.feed(std::move(data));
  while (true) {
    TRY(std::optional<Bytes> message, reader_.next());
    if (!message) return {};
    if (message_) return unimplemented("a unary method takes one message, more came");
    message_ = std::move(message);
  }
}

void ServerCall::dispatch() {
  has_handler_ = true;
  Request request{method_, &context_, std::move(metadata_), std::move(*message_), codec_};
  method_->service->call(std::move(request), Reply([this](Result<Response> result) {
                           has_handler_ = false;
                           finish(result.ok() ? std::move(*result) : refusal(result.status()));
                           release_if_over();
                         }));
}

void ServerCall::finish(Response response) {
  if (std::exchange(finished_, true)) return;
  deadline_timer_.reset();
  if (stream_ != nullptr) send(std::move(response));
}

void ServerCall::send(Response response) {
  Metadata head;
  head.add(":status", "200");
  head.add("content-type", grpc::content_type(response.codec.value_or(codec_), response.metadata));
  if (response.status.code() == Code::unimplemented) head.add("grpc-accept-encoding", "identity");
  grpc::to_wire(response.metadata, &head);
  Bytes* message = std::get_if<Bytes>(&response.body);
  bool is_trailers_only = message == nullptr || !response.status.ok();
  Metadata trailers;
  grpc::add_status(response.status, is_trailers_only ? &head : &trailers);
  grpc::to_wire(response.trailers, is_trailers_only ? &head : &trailers);
  // More than that peers refuse, and from 64 KiB on HTTP/2 would not even send it: the caller must hear of it instead.
  if (size_t largest = std::max(head.list_size(), trailers.list_size()); largest > limits::metadata_bytes_max)
    return send(refusal(resource_exhausted("the answer has metadata of " + std::to_string(largest) +
                                           " bytes; the limit is " + std::to_string(limits::metadata_bytes_max))));
  if (is_trailers_only) return stream_->headers(std::move(head), true);
  stream_->headers(std::move(head), false);
  stream_->data(frame_message(std::move(*message)), false);
  stream_->headers(std::move(trailers), true);
}

void ServerCall::on_closed(Status why, Fate) {
  stream_.reset();
  deadline_timer_.reset();
  if (!std::exchange(finished_, true) && has_handler_) {
    // What a reset means to a client is a code; to a handler it is one thing, that nobody waits any more.
    std::string text = "the caller went away";
    if (!why.message().empty()) text.append(": ").append(why.message());
    closing_ = true;
    context_.cancel(cancelled(std::move(text)));
    closing_ = false;
  }
  release_if_over();
}

void ServerCall::release_if_over() {
  if (stream_ == nullptr && !has_handler_ && !closing_) delete this;
}

}  // namespace nebula
