// rpc/client_call.cc - request to headers, trailers to status, and the words when a call ends otherwise.
#include "rpc/client_call.h"

#include "base/pool.h"
#include "loop/anchor.h"
#include "rpc/frame.h"
#include "rpc/grpc.h"
#include "rpc/inbox.h"
#include "rpc/outbox.h"

namespace nebula {

namespace {

constexpr std::string_view load_report_name = "endpoint-load-metrics-bin";

// Owns itself: it goes with the last event of its stream.
class ClientCall final : public Pooled, public StreamEvents, private InboxEvents {
 public:
  explicit ClientCall(const ClientWay& way)
      : loop_(way.loop),
        message_bytes_max_(way.message_bytes_max),
        events_(way.events),
        began_(way.loop.now()),
        reader_(way.message_bytes_max) {}

  Status start(Session& session, Metadata head, Request& request, Reply& reply, Again* again);

 private:
  // StreamEvents
  void on_headers(Head head, bool last) override;
  void on_data(Bytes data, bool last) override;
  void on_writable() override { outbox_.on_writable(); }
  void on_closed(Status why, Fate fate) override;

  // InboxEvents
  void on_taken(size_t wire_bytes) override { stream_->consumed(wire_bytes); }
  void on_dropped(size_t wire_bytes) override;
  void on_broken(Status why) override { fail_later({std::move(why), {}, Fate::processed}); }

  bool is_over() const { return request_.context == nullptr; }
  void send_body();
  Status begin(const grpc::ProtocolFields& head, Result<Metadata> user);
  Status status_of(const grpc::ProtocolFields& head) const;
  void answer_stream();                 // the responses begin
  Status take(Bytes data);
  void end(const grpc::ProtocolFields& trailers, Result<Metadata> user);  // the peer has said how it went
  void fail(Status why, Fate fate);     // it has not, or we do not want to hear it
  void fail_later(Ending ending);       // whoever places or reads calls must not find itself destroyed by the end of one
  void stop();                          // sends nothing more and listens to nobody: it is over
  bool refuse(const grpc::ProtocolFields& head, Result<Metadata>* user);  // true: it is tried again
  bool take_body_back();                // for another try; false: some of it is gone
  void repeat(Ending why);
  void tell_of_end(Code code, Fate fate, bool is_last = true);

  Loop& loop_;
  const size_t message_bytes_max_;
  CallEvents* const events_;
  const Time began_;
  uint32_t era_ = 0;
  Request request_;                     // without a context: the call is over
  Reply reply_;                         // answered: the responses go to the inbox
  Again again_;
  std::unique_ptr<Stream> stream_;
  Outbox outbox_;
  Inbox* inbox_ = nullptr;              // its reader's
  FrameReader reader_;                  // for a single response
  std::optional<Frame> message_;
  Metadata metadata_;
  std::string http_status_;
  std::optional<Anchor<ClientCall>> anchor_;  // where it is to fail later
};

Status ClientCall::start(Session& session, Metadata head, Request& request, Reply& reply, Again* again) {
  Result<std::unique_ptr<Stream>> stream = session.open(*this);
  if (!stream.ok()) return stream.status();
  stream_ = std::move(*stream);
  request_ = std::move(request);
  reply_ = std::move(reply);
  if (again != nullptr) again_ = std::move(*again);
  if (events_ != nullptr) era_ = events_->on_call_started();
  if (ClientMetrics* counts = request_.context->counts()) counts->attempts++;
  bool has_body = !std::holds_alternative<std::monostate>(request_.body);
  stream_->headers(std::move(head), !has_body);
  if (has_body) send_body();
  // Last, for it may have been cancelled already: then the stream is reset before any of it has left.
  request_.context->on_cancel([this](const Status& why) {
    // What has answered has seen the request, whatever becomes of the rest.
    fail(why, !http_status_.empty() ? Fate::processed : stream_->is_unsent() ? Fate::unsent : Fate::unknown);
  });
  return {};
}

void ClientCall::send_body() {
  if (Bytes* message = std::get_if<Bytes>(&request_.body)) {  // which is kept, for another try
    if (request_.encoding != Encoding::identity)
      return static_cast<void>(stream_->data(frame_message(*message, request_.encoding), true));
    Bytes framed = frame_message(std::move(*message));
    *message = framed.slice(frame_prefix_bytes, framed.size() - frame_prefix_bytes);
    stream_->data(std::move(framed), true);
    return;
  }
  std::unique_ptr<Source> source = std::move(std::get<std::unique_ptr<Source>>(request_.body));
  outbox_.start(*stream_, std::move(source), request_.encoding, [this](Ending ending) {
    if (ending.status.ok()) return static_cast<void>(stream_->data({}, true));
    fail_later(std::move(ending));
  });
}

void ClientCall::fail_later(Ending ending) {
  anchor_.emplace(*this);
  loop_.later([self = anchor_->ref(), ending = std::move(ending)]() mutable {
    ClientCall* call = self.get();
    if (call != nullptr && !call->is_over()) call->fail(std::move(ending.status), ending.fate);
  });
}

void ClientCall::on_headers(Head head, bool last) {
  if (is_over()) return;
  if (head.too_large) return fail(resource_exhausted("the metadata of the answer is over our limit"), Fate::processed);
  grpc::ProtocolFields fields;
  Result<Metadata> user = grpc::from_wire(head.fields, &fields);
  if (http_status_.empty()) {
    if (fields.http_status.starts_with('1')) return;  // informational; the answer is still to come
    http_status_ = fields.http_status;
    if (last && refuse(fields, &user)) return;
    outbox_.commit();
    if (!last) {
      if (Status status = begin(fields, std::move(user)); !status.ok())
        return fail(std::move(status), Fate::processed);
      if (streams_responses(request_.method->shape)) answer_stream();
      return;
    }
  }
  if (last) end(fields, std::move(user));
}

// An answer that is nothing but an error commits to nothing (gRFC A6).
bool ClientCall::refuse(const grpc::ProtocolFields& head, Result<Metadata>* user) {
  if (!request_.is_idempotent || !again_) return false;
  Status status = status_of(head);
  bool was_running = outbox_.is_running();
  if (status.ok() || !take_body_back()) return false;
  if (was_running) stream_->reset(h2::no_error);
  repeat({std::move(status), user->ok() ? std::move(**user) : Metadata(), Fate::processed});
  return true;
}

Status ClientCall::begin(const grpc::ProtocolFields& head, Result<Metadata> user) {
  if (http_status_ != "200") return status_of(head);
  if (!grpc::codec_of(head.content_type))
    return {Code::unknown, "the peer answered with content-type \"" + std::string(head.content_type) + "\", not gRPC"};
  if (head.encoding.data() != nullptr) {
    std::optional<Encoding> encoding = encoding_of(head.encoding);
    if (!encoding)
      return internal("the peer compressed with \"" + std::string(head.encoding) + "\", which was not offered; known: " +
                      std::string(encodings_known));
    reader_.set_encoding(*encoding);
  }
  TRY(metadata_, std::move(user));
  return {};
}

Status ClientCall::status_of(const grpc::ProtocolFields& head) const {
  std::optional<Status> status = grpc::find_status(head);
  return status ? std::move(*status) : grpc::status_of_http(http_status_);
}

void ClientCall::answer_stream() {
  std::unique_ptr<Inbox> inbox(new Inbox(*this, message_bytes_max_, reader_.encoding()));
  inbox_ = inbox.get();
  if (events_ != nullptr) events_->on_call_begun(era_, loop_.now() - began_);
  Response response;
  response.metadata = std::move(metadata_);
  response.body = std::move(inbox);
  Reply reply = std::move(reply_);
  reply(std::move(response));
}

void ClientCall::on_data(Bytes data, bool last) {
  // A single message is kept here, bounded by its own limit: the window is for who has not been read.
  if (is_over() || inbox_ == nullptr) stream_->consumed(data.size());
  if (is_over()) return;
  Status status = data.empty() ? Status() : take(std::move(data));
  if (is_over()) return;  // its reader has had enough
  if (!status.ok()) return fail(std::move(status), Fate::processed);
  if (last) fail(internal("the peer ended the stream without a status"), Fate::processed);
}

Status ClientCall::take(Bytes data) {
  if (inbox_ != nullptr) return inbox_->feed(std::move(data));
  reader_.feed(std::move(data));
  while (true) {
    TRY(std::optional<Frame> message, reader_.next());
    if (!message) return {};
    if (message_) return unimplemented("this method answers with one message, more came");
    message_ = std::move(message);
  }
}

void ClientCall::end(const grpc::ProtocolFields& trailers, Result<Metadata> user) {
  bool is_single = !streams_responses(request_.method->shape);
  Response response;
  response.status = status_of(trailers);
  if (response.status.ok() && (inbox_ != nullptr ? inbox_->is_inside() : reader_.is_inside()))
    response.status = internal("the answer ends inside a message");
  else if (response.status.ok() && is_single && !message_)
    response.status = unimplemented("this method answers with one message, none came");
  if (response.status.ok() && is_single) {
    Result<Bytes> message = reader_.open(std::move(*message_));
    if (message.ok())
      response.body = std::move(*message);
    else
      response.status = message.status();
  }
  if (user.ok()) {
    if (events_ != nullptr && !user->empty())
      if (std::optional<std::string_view> load = user->find(load_report_name)) events_->on_load_report(*load);
    response.trailers = std::move(*user);
  } else if (response.status.ok()) {
    response.status = user.status();
  }
  if (outbox_.is_running()) stream_->reset(h2::no_error);  // nobody wants the rest of the requests
  tell_of_end(response.status.code(), Fate::processed);
  stop();
  if (inbox_ != nullptr) return std::exchange(inbox_, nullptr)->finish(std::move(response));
  response.metadata = std::move(metadata_);
  Reply reply = std::move(reply_);
  reply(std::move(response));
}

void ClientCall::fail(Status why, Fate fate) {
  tell_of_end(why.code(), fate);
  stop();
  if (stream_ != nullptr) stream_->reset(h2::cancel);
  Ending ending{std::move(why), {}, fate};
  if (inbox_ != nullptr) return std::exchange(inbox_, nullptr)->cut(std::move(ending));
  Reply reply = std::move(reply_);
  reply(Response{std::move(ending)});
}

void ClientCall::on_dropped(size_t) {
  tell_of_end(Code::cancelled, Fate::processed);
  inbox_ = nullptr;
  stop();
  stream_->reset(h2::cancel);
}

void ClientCall::tell_of_end(Code code, Fate fate, bool is_last) {
  Duration took = loop_.now() - began_;
  size_t bucket = Histogram::bucket_of(took);
  request_.context->count_attempt(code, bucket, took, began_, is_last);
  if (events_ == nullptr) return;
  events_->on_call_ended(era_, code, fate, inbox_ == nullptr ? std::optional(took) : std::nullopt, bucket);
}

void ClientCall::stop() {
  std::exchange(request_.context, nullptr)->on_cancel(nullptr);
  outbox_.stop();
}

void ClientCall::on_closed(Status why, Fate fate) {
  stream_.reset();
  if (!is_over()) {
    if (why.ok()) why = internal("the peer ended the stream without a status");
    // A server that keeps deadlines too resets the stream a moment before our own timer fires.
    if (why.code() == Code::cancelled && loop_.now() >= request_.context->deadline())
      why = deadline_exceeded("the deadline passed at the server");
    if (!http_status_.empty()) fate = Fate::processed;
    bool was_seen = fate == Fate::unknown || fate == Fate::processed;
    bool may_repeat = !was_seen || (request_.is_idempotent && fate == Fate::unknown);
    if (may_repeat && again_ && take_body_back())
      repeat({std::move(why), {}, fate});
    else
      fail(std::move(why), fate == Fate::refused ? Fate::unprocessed : fate);
  }
  delete this;
}

bool ClientCall::take_body_back() {
  std::unique_ptr<Source>* source = std::get_if<std::unique_ptr<Source>>(&request_.body);
  return source == nullptr || (*source = outbox_.take_back()) != nullptr;
}

void ClientCall::repeat(Ending why) {
  tell_of_end(why.status.code(), why.fate, false);
  request_.context->on_cancel(nullptr);
  Request request = std::move(request_);
  request_.context = nullptr;
  Again again = std::move(again_);
  again(std::move(request), std::move(reply_), std::move(why));
}

// What the heads of calls to one method have in common.
Metadata common_head(const ClientWay& way, const Request& request) {
  std::string_view path = request.method->path;
  std::string_view content_type = grpc::content_type(request.codec, request.metadata);
  bool has_agent = !request.metadata.find("user-agent");
  HeadMemo* memo = way.memo;
  if (memo != nullptr && memo->path == path && memo->content_type == content_type &&
      memo->encoding == request.encoding && memo->has_agent == has_agent && !memo->head.empty())
    return memo->head;
  Metadata head;
  head.add(":method", "POST");
  head.add(":scheme", way.session.peer().is_encrypted ? "https" : "http");
  head.add(":path", path);
  head.add(":authority", way.authority);
  head.add("te", "trailers");
  head.add("content-type", content_type);
  grpc::add_encodings(request.encoding, &head);
  if (has_agent) head.add("user-agent", "nebula/" NEBULA_VERSION);
  if (memo != nullptr) *memo = {std::string(path), std::string(content_type), request.encoding, has_agent, head};
  return head;
}

// Apart, for most calls say nothing of them.
[[gnu::noinline]] void add_tries(const Request& request, Metadata* head) {
  if (request.tries != nullptr) head->add("grpc-previous-rpc-attempts", std::to_string(request.tries->nodes.size()));
  head->add(grpc::retries_left_name, std::to_string(request.retries_left));
}

Metadata head_of(const ClientWay& way, const Request& request) {
  Metadata head = common_head(way, request);
  Time deadline = request.context->deadline();
  if (!deadline.is_never()) head.add("grpc-timeout", grpc::format_timeout(deadline - way.loop.now()));
  if (request.retries_left != any_retries) add_tries(request, &head);
  grpc::to_wire(request.metadata, &head);
  return head;
}

}  // namespace

Status start_client_call(const ClientWay& way, Request& request, Reply& reply, Again* again) {
  Metadata head = head_of(way, request);
  if (size_t most = way.session.metadata_bytes_max(); head.list_size() > most) {
    Response refusal;
    refusal.status = resource_exhausted("metadata of " + std::to_string(head.list_size()) + " bytes is over the " +
                                        std::to_string(most) + " that the peer takes");
    refusal.fate = Fate::unsent;
    request.context->count_end(refusal.status.code(), way.loop.now());
    // In a later step: whoever places calls must not find itself destroyed by the answer to one.
    way.loop.later([answered = std::move(reply), refusal = std::move(refusal)]() mutable { answered(std::move(refusal)); });
    return {};
  }
  std::unique_ptr<ClientCall> call = std::make_unique<ClientCall>(way);
  Status status = call->start(way.session, std::move(head), request, reply, again);
  if (status.ok()) static_cast<void>(call.release());  // its own from here
  return status;
}

}  // namespace nebula
