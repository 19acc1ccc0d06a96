// rpc/server_call.cc - headers to request, reply to trailers, and all the ways in which a call can end early.
#include "rpc/server_call.h"

#include "base/limits.h"
#include "rpc/grpc.h"

namespace nebula {

namespace {

// More than that peers refuse, and from 64 KiB on HTTP/2 would not even send it: the caller must hear of it instead.
Status check_size(const Metadata& block) {
  size_t size = block.list_size();
  if (size <= limits::metadata_bytes_max) return {};
  return resource_exhausted("the answer has metadata of " + std::to_string(size) + " bytes; the limit is " +
                            std::to_string(limits::metadata_bytes_max));
}

void add_head(Codec codec, const Metadata& user, Encoding encoding, Metadata* head) {
  head->add(":status", "200");
  head->add("content-type", grpc::content_type(codec, user));
  grpc::add_encodings(encoding, head);
  grpc::to_wire(user, head);
}

}  // namespace

ServerShare::ServerShare(Loop& loop, const Router& router, size_t message_bytes_max)
    : loop(loop), router(router), pace(loop), message_bytes_max(message_bytes_max) {
  for (Codec codec : {Codec::any, Codec::proto, Codec::json})
    add_head(codec, {}, Encoding::identity, &plain_heads[static_cast<size_t>(codec)]);
  grpc::add_status({}, &ok_trailers);
}

ServerMetrics& ServerShare::counts_of(const Method* method) {
  if (counts_ == nullptr || method != counted_) {
    counted_ = method;
    counts_ = &loop.metrics().server(method != nullptr ? std::string_view(method->path) : Metrics::other);
  }
  return *counts_;
}

ServerCall::ServerCall(ServerShare& share, std::shared_ptr<const Peer> peer, std::unique_ptr<Stream> stream)
    : share_(share),
      context_(Time::never(), std::move(peer)),
      stream_(std::move(stream)),
      began_(share.loop.now()),
      reader_(share.message_bytes_max) {}

// ---- the request

void ServerCall::on_headers(Head head, bool last) {
  if (finished_) return;
  if (method_ != nullptr) {  // trailers mean nothing in gRPC, but they are an end
    if (last) on_data({}, true);
    return;
  }
  Status status = begin(head);
  if (finished_) return;
  if (status.ok() && streams_requests(method_->shape)) {
    std::unique_ptr<Inbox> inbox(new Inbox(*this, share_.message_bytes_max, reader_.encoding(), &share_.pace));
    inbox_ = inbox.get();
    dispatch(std::move(inbox));
  }
  if (status.ok() && last && !finished_) status = end_of_request();
  if (!status.ok()) abort(std::move(status));
}

Status ServerCall::begin(const Head& head) {
  grpc::ProtocolFields fields;
  Result<Metadata> user = grpc::from_wire(head.fields, &fields);
  std::optional<Codec> codec = grpc::codec_of(fields.content_type);
  if (fields.method != "POST") {
    refuse_http("405", "gRPC calls are POST requests");
    return {};
  }
  if (!codec && !head.too_large) {
    refuse_http("415", "content-type \"" + std::string(fields.content_type) + "\" is not one of application/grpc, +proto, +json");
    return {};
  }
  codec_ = codec.value_or(Codec::any);
  method_ = share_.router.find(fields.path);
  counts_ = &share_.counts_of(method_);
  counts_->calls++;
  if (head.too_large)
    return resource_exhausted("metadata is over the limit of " + std::to_string(limits::metadata_bytes_max) +
                              " bytes or " + std::to_string(limits::metadata_fields_max) + " fields");
  if (method_ == nullptr) return share_.router.unknown(fields.path);
  if (fields.encoding.data() != nullptr) {
    std::optional<Encoding> encoding = encoding_of(fields.encoding);
    if (!encoding)
      return unimplemented("grpc-encoding \"" + std::string(fields.encoding) + "\" is not supported; known: " +
                           std::string(encodings_known));
    reader_.set_encoding(*encoding);
  }
  if (!fields.accept_encoding.empty()) {
    head_ = head.fields;
    accepted_ = fields.accept_encoding;
  }
  if (fields.timeout.data() != nullptr) {
    std::optional<Duration> left = grpc::parse_timeout(fields.timeout);
    if (!left) return internal("grpc-timeout \"" + std::string(fields.timeout) + "\" is malformed");
    context_.set_deadline(share_.loop.now() + *left);
    if (!context_.deadline().is_never())
      deadline_timer_ = share_.loop.after(
          *left, [this] { abort(deadline_exceeded("the deadline passed while the call was at the server")); });
  }
  if (fields.retries_left.data() != nullptr)
    context_.set_retries_left(grpc::parse_retries_left(fields.retries_left));
  TRY(metadata_, std::move(user));
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
  // A single message is kept here, bounded by its own limit: the window is for who has not been read.
  if (finished_ || inbox_ == nullptr) stream_->consumed(data.size());
  if (finished_) return;
  Status status = data.empty() ? Status() : take(std::move(data));
  if (status.ok() && last && !finished_) status = end_of_request();
  if (!status.ok()) abort(std::move(status));
  watch_message();
}

Status ServerCall::take(Bytes data) {
  if (inbox_ != nullptr) return inbox_->feed(std::move(data));
  if (was_dispatched_) return {};  // the handler does not want it
  reader_.feed(std::move(data));
  while (true) {
    TRY(std::optional<Frame> message, reader_.next());
    if (!message) return {};
    if (message_) return unimplemented("this method takes one message, more came");
    message_ = std::move(message);
  }
}

void ServerCall::watch_message() {
  bool is_inside = inbox_ != nullptr ? inbox_->awaits_rest() : !was_dispatched_ && reader_.is_inside();
  stream_->awaits_rest(!finished_ && is_inside);
}

void ServerCall::on_taken(size_t wire_bytes) {
  stream_->consumed(wire_bytes);
  watch_message();
}

// What still comes is thrown away. But it may come: the caller may not listen before it has said all.
void ServerCall::on_dropped(size_t wire_bytes) {
  inbox_ = nullptr;
  if (stream_ == nullptr) return;
  stream_->consumed(wire_bytes);
  watch_message();
}

// In a later step: it comes from inside the handler's asking.
void ServerCall::on_broken(Status why) {
  share_.loop.later([self = ref(), why = std::move(why)]() mutable {
    ServerCall* call = self.get();
    if (call != nullptr && !call->finished_) call->abort(std::move(why));
  });
}

Status ServerCall::end_of_request() {
  if (inbox_ != nullptr ? inbox_->is_inside() : reader_.is_inside())
    return internal("the request ends inside a message");
  if (inbox_ != nullptr) {
    inbox_->end();
  } else if (!was_dispatched_) {
    if (!message_) return unimplemented("this method takes one message, none came");
    return dispatch_message();
  }
  return {};
}

Status ServerCall::dispatch_message() {
  if (message_->is_compressed && !share_.pace.may_go()) {
    share_.pace.wait([self = ref()] {
      ServerCall* call = self.get();
      if (call == nullptr || call->finished_) return;
      if (Status status = call->dispatch_message(); !status.ok()) call->abort(std::move(status));
    });
    return {};
  }
  TRY(Bytes message, reader_.open(std::move(*message_), &share_.pace));
  dispatch(std::move(message));
  return {};
}

// ---- the answer

void ServerCall::dispatch(Body body) {
  was_dispatched_ = true;
  has_handler_ = true;
  Request request{method_, &context_, std::move(metadata_), std::move(body), codec_};
  method_->service->call(std::move(request), Reply([this](Result<Response>&& result) {
                           has_handler_ = false;
                           if (result.ok())
                             answer(std::move(*result));
                           else
                             answer({{result.status()}});
                           release_if_over();
                         }));
}

void ServerCall::answer(Response&& response) {
  std::unique_ptr<Source>* source = std::get_if<std::unique_ptr<Source>>(&response.body);
  response.encoding = agree(response.encoding, accepted_);
  if (source == nullptr || finished_) return finish(std::move(response));
  Metadata head = head_of(response);
  if (Status status = check_size(head); !status.ok()) return abort(std::move(status));
  has_sent_head_ = true;
  stream_->headers(std::move(head), false);
  outbox_.start(*stream_, std::move(*source), response.encoding,
                [this](Ending ending) { finish({std::move(ending)}); });
}

void ServerCall::finish(Response&& response) {
  if (std::exchange(finished_, true)) return;
  deadline_timer_.reset();
  outbox_.stop();
  Status reason = inbox_ == nullptr || !response.status.ok() ? response.status : cancelled("the call is over");
  count_end(is_closed_ ? response.status.code() : send(std::move(response)));
  stream_->awaits_rest(false);
  if (inbox_ != nullptr) std::exchange(inbox_, nullptr)->cut({std::move(reason)});
}

void ServerCall::count_end(Code code) {
  ServerMetrics* counts = std::exchange(counts_, nullptr);
  if (counts == nullptr) return;
  Duration took = share_.loop.now() - began_;
  counts->call_duration.add(code, Histogram::bucket_of(took), took);
}

Code ServerCall::send(Response&& response) {
  Code code = response.status.code();
  Bytes* message = response.status.ok() ? std::get_if<Bytes>(&response.body) : nullptr;
  if (message != nullptr && !context_.peer().room->has(message->size())) return send({{no_room_for(message->size())}});
  Metadata head = has_sent_head_ ? Metadata() : head_of(response);
  Metadata trailers;
  bool is_trailers_only = !has_sent_head_ && message == nullptr;
  Metadata& last = is_trailers_only ? head : trailers;
  if (!is_trailers_only && response.status.ok() && response.trailers.empty()) {
    last = share_.ok_trailers;
  } else {
    grpc::add_status(response.status, &last);
    grpc::to_wire(response.trailers, &last);
  }
  for (const Metadata* block : {&head, &trailers})
    if (Status status = check_size(*block); !status.ok()) return send({{std::move(status)}});
  if (is_trailers_only) {
    stream_->headers(std::move(head), true);
    return code;
  }
  if (!has_sent_head_) stream_->headers(std::move(head), false);
  if (message != nullptr) stream_->data(frame_message(std::move(*message), response.encoding), false);
  stream_->headers(std::move(trailers), true);
  return code;
}

Metadata ServerCall::head_of(const Response& response) const {
  Codec codec = response.codec.value_or(codec_);
  bool is_plain = response.metadata.empty() && response.encoding == Encoding::identity;
  if (is_plain) return share_.plain_heads[static_cast<size_t>(codec)];
  Metadata head;
  add_head(codec, response.metadata, response.encoding, &head);
  return head;
}

// ---- other endings

void ServerCall::abort(Status why) {
  finish({{why}});
  if (was_dispatched_) context_.cancel(std::move(why));
}

void ServerCall::on_closed(Status why, Fate) {
  is_closed_ = true;
  deadline_timer_.reset();
  if (!std::exchange(finished_, true)) {
    // What a reset means to a client is a code; to a handler it is one thing, that nobody waits any more.
    std::string text = "the caller went away";
    if (!why.message().empty()) text.append(": ").append(why.message());
    Status gone = cancelled(std::move(text));
    count_end(gone.code());
    telling_ = true;
    outbox_.stop();
    if (inbox_ != nullptr) std::exchange(inbox_, nullptr)->cut({gone});
    if (was_dispatched_) context_.cancel(std::move(gone));
    telling_ = false;
  }
  release_if_over();
}

Anchor<ServerCall>::Ref ServerCall::ref() {
  if (!anchor_) anchor_.emplace(*this);
  return anchor_->ref();
}

void ServerCall::release_if_over() {
  if (is_closed_ && !has_handler_ && !telling_) delete this;
}

}  // namespace nebula
