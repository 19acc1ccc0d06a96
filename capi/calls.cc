// capi/calls.cc - what bindings ask becomes calls of services; what comes of them becomes events.
#include "calls.h"

#include <algorithm>

#include "base/limits.h"
#include "queue.h"
#include "service/admin_messages.h"

namespace nebula {

namespace {

QueuedEvent event_of(const CallRecord& record, uint16_t kind) {
  QueuedEvent queued;
  queued.event.kind = kind;
  queued.event.call = record.id;
  queued.event.tag = record.tag;
  queued.is_of_server = record.side == Side::server;
  queued.calls = &record.calls;
  return queued;
}

}  // namespace

// ---- CallRecord

CallRecord::~CallRecord() {
  if (out != nullptr) out->detach();
}

void CallRecord::on_sent(size_t bytes) {
  size_t cost = bytes + limits::event_bytes;
  size_t left = facts.unsent.fetch_sub(cost) - cost;
  if (left > limits::stream_send_low || !facts.is_full.exchange(false)) return;
  QueuedEvent queued = event_of(*this, NEBULA_EV_WRITABLE);
  queued.event.value = limits::stream_send_high - left;
  calls.push(queue, std::move(queued));
}

void CallRecord::consume(uint64_t bytes) {
  consumed += bytes;
  while (!held.empty() && held.front() <= consumed) {
    consumed -= held.front();
    owed -= held.front() + limits::event_bytes;
    held.pop();
  }
  if (held.empty()) consumed = 0;
}

ServerRecord::ServerRecord(Calls& calls, nebula_queue* queue, uint64_t tag)
    : CallRecord(calls, queue, Side::server, tag) {
  queue->served_calls++;
}

ServerRecord::~ServerRecord() { queue->served_calls--; }

// ---- life

void Place::perform(Fn<void()> work) {
  perform_until([work = std::move(work)](Fn<void()> tell) mutable {
    work();
    tell();
  }, nanos(-1));
}

Calls::Calls(nebula_engine& engine, Worker& worker, Place& place) : engine_(engine), worker_(worker), place_(place) {
  std::lock_guard<std::mutex> hold(engine_.lock);
  engine_.calls.push_back(this);
}

Calls::~Calls() {
  {
    std::lock_guard<std::mutex> hold(engine_.lock);
    std::erase(engine_.calls, this);
  }
  channels_.clear();  // answers what is open, into queues that nobody will read
  server_calls_.clear();
}

void Calls::drop(nebula_queue& queue) {
  std::vector<uint64_t> open;
  for (auto& [id, record] : client_calls_)
    if (record->queue == &queue) open.push_back(id);
  for (uint64_t id : open)
    if (auto call = client_calls_.find(id); call != client_calls_.end()) {
      call->second->queue = nullptr;
      call->second->context.cancel(cancelled("the queue was freed"));
    }
  std::erase_if(server_calls_, [&queue](const auto& call) { return call.second->queue == &queue; });
  surveys_.drop(queue);
  std::erase_if(outboxes_, [&queue](const auto& outbox) { return outbox.first == &queue; });
}

// ---- from any thread

void Calls::post(std::unique_ptr<Operation> operation) {
  size_t size = operation->message ? operation->message->size() : 0;
  if (size > 0) posted_bytes_ += size;
  worker_.loop().post([this, size, operation = std::move(operation)] {
    if (size > 0) posted_bytes_ -= size;
    apply(*operation);
  });
}

// Another thread's messages wake the one that polls.
bool Calls::is_piled_up() const { return posted_bytes_ >= limits::posted_bytes_max && place_.is_poller(); }

void Calls::post_start(std::unique_ptr<ClientRecord> record, std::unique_ptr<Operation> operation) {
  worker_.loop().post([this, record = std::move(record), operation = std::move(operation)]() mutable {
    start(std::move(record), *operation);
  });
}

void Calls::post_forget(std::shared_ptr<const ChannelTarget> target) {
  worker_.loop().post([this, target = std::move(target)] { forget(target.get()); });
}

// ---- events

void Calls::push(nebula_queue* queue, QueuedEvent event) {
  if (queue == nullptr) return;
  if (EventFifo* events = queue->events_of_this_loop(); events != nullptr)
    return events->push(std::move(event));
  if (outboxes_.empty()) worker_.loop().later([this] { hand_over(); });
  auto found = std::find_if(outboxes_.begin(), outboxes_.end(), [queue](const auto& each) { return each.first == queue; });
  if (found == outboxes_.end()) found = outboxes_.emplace(found, queue, EventFifo());
  found->second.push(std::move(event));
}

// As a rule all that a turn has brought, with one wake-up.
void Calls::hand_over() {
  for (auto& [queue, events] : std::exchange(outboxes_, {})) queue->take_over(std::move(events));
}

void Calls::report(nebula_queue& queue, uint64_t tag) {
  surveys_.ask([this, &queue, tag](MetricsSnapshot all) {
    QueuedEvent queued;
    queued.event.kind = NEBULA_EV_METRICS;
    queued.event.tag = tag;
    queued.calls = this;
    queued.data = whole_report(all);
    queued.has_data = true;
    push(&queue, std::move(queued));
  }, &queue);
}

void Calls::settle(const std::vector<Settled>& settled) {
  for (const Settled& each : settled) {
    CallRecord* record = find(each.call);
    if (record == nullptr || record->reading.holds) continue;
    record->owed -= each.bytes;
    if (record->in != nullptr) take(*record);
  }
}

// ---- what the binding asks

void Calls::apply(Operation& operation) {
  CallRecord* record = find(operation.call);
  if (record == nullptr) return;  // it died on the way; the binding has heard, or will
  if (operation.kind == Operation::consume) {
    record->consume(operation.value);
    if (record->in != nullptr) take(*record);
  } else if (record->side == Side::client) {
    apply_client(static_cast<ClientRecord&>(*record), operation);
  } else {
    apply_server(static_cast<ServerRecord&>(*record), operation);
  }
}

// ---- the peer's messages

CallRecord* Calls::find(uint64_t id) {
  if (auto found = server_calls_.find(id); found != server_calls_.end()) return found->second.get();
  if (auto found = client_calls_.find(id); found != client_calls_.end()) return found->second.get();
  return nullptr;
}

void Calls::take(CallRecord& record) {
  std::optional<QueuedEvent> last;  // waits until it is known whether it is the last of all
  while (record.owed < limits::stream_events_bytes || record.in->is_cut()) {
    Run run;
    Source::Next next = record.reading.in_runs ? record.in->next_run(&run) : record.in->next(&run.bytes);
    if (next == Source::Next::end) return on_source_end(record, std::move(last));
    if (next == Source::Next::later) break;
    record.owed += run.bytes.size() + limits::event_bytes;
    if (record.reading.holds) record.held.push(static_cast<uint32_t>(run.bytes.size()));
    if (last) push(record.queue, std::move(*last));
    last = event_of(record, NEBULA_EV_MESSAGE);
    last->data = std::move(run.bytes);
    last->has_data = true;
    if (run.count > 1) last->event.flags |= NEBULA_RUN;
  }
  if (last) push(record.queue, std::move(*last));
}

void Calls::on_source_end(CallRecord& record, std::optional<QueuedEvent> last) {
  std::unique_ptr<Source> ended = std::move(record.in);
  bool is_told = record.side == Side::server && ended->ending().status.ok();  // else CANCELLED or FINISHED follows
  if (is_told && !last) last = event_of(record, NEBULA_EV_END);
  if (is_told && last->has_data) last->event.flags |= NEBULA_END;
  if (last) push(record.queue, std::move(*last));
  if (record.side == Side::server) return;
  std::unique_ptr<ClientRecord> call = std::move(client_calls_.find(record.id)->second);
  client_calls_.erase(record.id);
  push_finished(*call, ended->ending(), {});
}

// ---- server side

void Calls::serve(nebula_queue& queue, const ServedMethod& method, Request&& request, Reply&& reply) {
  if (queue.is_full())
    return reply(resource_exhausted("the server has too many calls waiting to be looked at"));
  std::unique_ptr<ServerRecord> record = std::make_unique<ServerRecord>(*this, &queue, method.tag);
  record->facts.context = request.context;
  record->reading = method.reading;
  record->encoding = method.encoding;
  record->facts.path = request.method->path;
  record->facts.shape = request.method->shape;
  record->facts.peer = request.context->shared_peer();
  record->facts.deadline = request.context->deadline();
  uint64_t id = record->id = add_call(&queue, this, Side::server, &record->facts);
  if (id == 0) return reply(resource_exhausted("the server has too many open calls"));
  record->reply = std::move(reply);
  request.context->on_cancel([this, id](const Status& why) { on_server_call_dead(id, why); });

  QueuedEvent queued = event_of(*record, NEBULA_EV_CALL);
  queued.event.flags = flags_of_codec(request.codec);
  uint64_t left = microseconds_left(request.context->deadline(), worker_.loop().now());
  queued.event.value = left == UINT64_MAX ? 0 : left;
  queued.metadata = std::move(request.metadata);
  if (Bytes* message = std::get_if<Bytes>(&request.body)) {
    queued.event.flags |= NEBULA_END;
    queued.data = std::move(*message);
    queued.has_data = true;
  }
  push(&queue, std::move(queued));
  CallRecord& call = *server_calls_.emplace(id, std::move(record)).first->second;
  if (std::unique_ptr<Source>* source = std::get_if<std::unique_ptr<Source>>(&request.body)) {
    call.in = std::move(*source);
    call.in->on_ready([this, id] { take(*find(id)); });
    take(call);
  }
}

void Calls::apply_server(ServerRecord& record, Operation& operation) {
  bool is_stream = record.facts.streams_out(Side::server);
  if (operation.codec) record.codec = operation.codec;
  switch (operation.kind) {
    case Operation::tag: record.tag = operation.value; return;
    case Operation::headers:
      record.initial = std::move(operation.metadata);
      if (is_stream) begin_responses(record);
      return;
    case Operation::send:
      if (is_stream) {
        if (!begin_responses(record)) return;
        if (operation.message) record.out->push({std::move(*operation.message), operation.count}, operation.compress);
        if (operation.is_last) answer(record, operation);
        return;
      }
      if (record.message) {
        remove_call(record.id);  // answered here, so whatever else the handler says is stale
        operation.status = internal("the handler sent two messages for a method that answers with one");
        return answer(record, operation);
      }
      record.message = std::move(operation.message);
      record.compress = operation.compress;
      if (operation.is_last) answer(record, operation);
      return;
    default: return answer(record, operation);
  }
}

// False: that was its end.
bool Calls::begin_responses(ServerRecord& record) {
  if (!record.reply) return true;
  uint64_t id = record.id;
  Response response;
  response.metadata = std::move(record.initial);
  response.codec = record.codec;
  response.encoding = record.encoding;
  response.body = std::make_unique<Feed>(record);
  Reply reply = std::move(record.reply);
  reply(std::move(response));
  return server_calls_.contains(id);
}

void Calls::answer(ServerRecord& record, Operation& operation) {
  auto found = server_calls_.find(record.id);
  std::unique_ptr<ServerRecord> ended = std::move(found->second);
  server_calls_.erase(found);
  record.facts.context->on_cancel(nullptr);
  record.in.reset();
  Response response;
  response.status = std::move(operation.status);
  response.trailers = std::move(operation.metadata);
  if (NestedRetries* nested = record.facts.context->nested()) nested->advise(&response);
  if (!record.reply) return record.out->end(std::move(response));
  response.codec = record.codec;
  if (record.compress) response.encoding = record.encoding;
  response.metadata = std::move(record.initial);
  if (record.message) response.body = std::move(*record.message);
  record.reply(std::move(response));
}

void Calls::on_server_call_dead(uint64_t id, const Status& why) {
  auto found = server_calls_.find(id);
  if (found == server_calls_.end()) return;
  bool is_told = mark_dead(id);
  std::unique_ptr<ServerRecord> record = std::move(found->second);
  server_calls_.erase(found);
  if (is_told) {
    QueuedEvent queued = event_of(*record, NEBULA_EV_CANCELLED);
    queued.event.status = static_cast<int32_t>(why.code());
    queued.data = Bytes::copy(why.message());
    queued.has_data = true;
    push(record->queue, std::move(queued));
  }
  if (record->reply) record->reply(why);  // nobody hears it
}

// ---- client side

void Calls::start(std::unique_ptr<ClientRecord> started, Operation& operation) {
  ClientRecord& record = *started;
  uint64_t id = record.id;
  client_calls_.emplace(id, std::move(started));
  Reply reply([this, id](Result<Response>&& result) { on_response(id, std::move(result)); });
  Result<Service*> service = channel_to(*record.method->target);
  if (!service.ok()) return reply(service.status());
  Request request{&record.method->method, &record.context, std::move(operation.metadata), {}};
  if (streams_requests(record.facts.shape)) {
    std::unique_ptr<Feed> feed = std::make_unique<Feed>(record);
    request.encoding = operation.encoding;
    if (operation.message) feed->push({std::move(*operation.message)}, operation.compress);
    if (operation.is_last) feed->end({});
    request.body = std::move(feed);
  } else {
    if (operation.compress) request.encoding = operation.encoding;
    request.body = std::move(*operation.message);
  }
  request.codec = operation.codec.value_or(Codec::any);
  request.wait_for_ready = operation.wait_for_ready;
  request.check = operation.check;
  request.is_idempotent = operation.is_idempotent;
  (*service)->call(std::move(request), std::move(reply));
}

Result<Service*> Calls::channel_to(const ChannelTarget& target) {
  auto found = channels_.find(&target);
  if (found == channels_.end()) {
    TRY(std::unique_ptr<Service> channel, worker_.open_channel(target.url, target.limits, target.policy));
    found = channels_.emplace(&target, std::move(channel)).first;
  }
  return found->second.get();
}

void Calls::apply_client(ClientRecord& record, Operation& operation) {
  switch (operation.kind) {
    case Operation::tag: record.tag = operation.value; return;
    case Operation::cancel: return record.context.cancel(std::move(operation.status));
    default: break;
  }
  if (record.out == nullptr) return;  // the server has ended the call, and we hear of it presently
  Feed& feed = *record.out;
  if (operation.message) feed.push({std::move(*operation.message), operation.count}, operation.compress);
  if (operation.is_last && record.out != nullptr) feed.end({});
}

void Calls::on_response(uint64_t id, Result<Response>&& result) {
  auto found = client_calls_.find(id);
  NEBULA_ASSERT(found != client_calls_.end());
  ClientRecord& record = *found->second;
  Response response = result.ok() ? std::move(*result) : Response{{result.status(), {}, Fate::unsent}};
  std::unique_ptr<Source>* source = std::get_if<std::unique_ptr<Source>>(&response.body);
  if (record.wants_headers && (source != nullptr || !response.metadata.empty())) {
    QueuedEvent queued = event_of(record, NEBULA_EV_HEADERS);
    queued.metadata = std::move(response.metadata);
    push(record.queue, std::move(queued));
  }
  if (source != nullptr) {
    record.in = std::move(*source);
    record.in->on_ready([this, id] { take(*find(id)); });
    return take(record);
  }
  std::unique_ptr<ClientRecord> ended = std::move(found->second);
  client_calls_.erase(found);
  std::optional<Bytes> message;
  if (Bytes* single = std::get_if<Bytes>(&response.body)) message = std::move(*single);
  push_finished(record, response, std::move(message));
}

void Calls::push_finished(ClientRecord& record, Ending& ending, std::optional<Bytes> message) {
  remove_call(record.id);
  QueuedEvent queued = event_of(record, NEBULA_EV_FINISHED);
  queued.event.flags = NEBULA_END;
  queued.event.status = static_cast<int32_t>(ending.status.code());
  queued.event.value = static_cast<uint64_t>(ending.fate) |
                       static_cast<uint64_t>(fault_of(ending.status.code(), ending.fate)) << 8;
  if (!ending.status.ok()) {
    message = Bytes::copy(ending.status.message());
    if (NestedRetries* nested = record.context.nested()) nested->on_failure(record.context, ending.trailers);
  }
  queued.metadata = std::move(ending.trailers);
  if (message) {
    queued.data = std::move(*message);
    queued.has_data = true;
  }
  push(record.queue, std::move(queued));
}

void Calls::forget(const ChannelTarget* target) {
  auto found = channels_.find(target);
  if (found == channels_.end()) return;
  std::vector<uint64_t> open;
  for (auto& [id, record] : client_calls_)
    if (record->method->target.get() == target) open.push_back(id);
  for (uint64_t id : open)
    if (auto call = client_calls_.find(id); call != client_calls_.end())
      call->second->context.cancel(cancelled("the channel was freed"));
  channels_.erase(found);
}


}  // namespace nebula
