// capi/queue.cc - one turn: apply what was submitted, run the loop, hand out events.
#include "queue.h"

#include <algorithm>
#include <cstring>

using namespace nebula;

static_assert(sizeof(nebula_event) == 64);

namespace {

QueuedEvent event_of(const CallRecord& record, uint16_t kind) {
  QueuedEvent queued;
  queued.event.kind = kind;
  queued.event.call = record.id;
  queued.event.tag = record.tag;
  queued.is_of_server = record.side == Side::server;
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
  queue->push(std::move(queued));
}

void CallRecord::consume(uint64_t bytes) {
  consumed += bytes;
  while (!held.empty() && held.front() <= consumed) {
    consumed -= held.front();
    owed -= held.front() + limits::event_bytes;
    held.pop_front();
  }
  if (held.empty()) consumed = 0;
}

// ---- life

nebula_queue::nebula_queue(nebula_engine* engine, const nebula_queue_options& options, std::unique_ptr<Worker> given,
                           Housekeeper* housekeeper)
    : engine(engine),
      worker(std::move(given)),
      stride_(options.event_size == 0 ? sizeof(nebula_event) : options.event_size),
      batch_(options.batch == 0 ? limits::poll_batch : options.batch),
      capacity_(options.capacity == 0 ? limits::queue_events_max : options.capacity) {
  array.resize(size_t{stride_} * batch_);
  loop = std::make_unique<KeptLoop>(worker->loop(), housekeeper, [this] { return !events_.empty(); });
}

nebula_queue::~nebula_queue() {
  loop.reset();        // the housekeeper keeps off
  remove_calls(this);  // from here on nobody finds the way to this loop
  channels_.clear();   // answers what is open, into a queue that nobody will read
  server_calls_.clear();
}

// ---- from any thread

void nebula_queue::post(Operation operation) {
  size_t size = operation.message ? operation.message->size() : 0;
  posted_bytes_ += size;
  worker->loop().post([this, size, operation = std::move(operation)]() mutable {
    posted_bytes_ -= size;
    apply(std::move(operation));
  });
}

// Another thread's messages wake the one that polls.
bool nebula_queue::is_piled_up() const {
  return posted_bytes_ >= limits::posted_bytes_max && loop->is_poller();
}

// Sessions send what they can, and refuse what they have no room for. Events wait for the next poll, as ever.
void nebula_queue::relieve() { loop->drive(); }

void nebula_queue::post_start(std::unique_ptr<ClientRecord> record, Operation operation) {
  worker->loop().post([this, record = std::move(record), operation = std::move(operation)]() mutable {
    start(std::move(record), std::move(operation));
  });
}

void nebula_queue::post_event(nebula_event event) {
  worker->loop().post([this, event] { push(QueuedEvent{event, {}, false, {}, false}); });
}

void nebula_queue::post_forget(std::shared_ptr<const ChannelTarget> target) {
  worker->loop().post([this, target = std::move(target)] { forget(target.get()); });
}

// ---- poll

int32_t nebula_queue::poll(int32_t timeout_ms) {
  KeptLoop::Poll poll(*loop);
  if (!poll.is_alone()) return NEBULA_E_BUSY;
  settle_lent();
  UvLoop& uv = worker->loop();
  Time end = uv.now() + ms(timeout_ms);
  Duration wait = ms(timeout_ms);  // negative: for ever
  while (true) {
    // Even with events in hand: this turn is also what sends the caller's submissions.
    uv.run_once(events_.empty() ? wait : ms(0));
    if (!events_.empty() || poll.is_wanted() || timeout_ms == 0) break;
    if (timeout_ms < 0) continue;
    wait = end - uv.now();
    if (wait <= ms(0)) break;
  }
  int32_t count = deliver();
  if (!events_.empty()) uv.raise();
  return count;
}

int32_t nebula_queue::deliver() {
  char* at = array.data();
  while (!events_.empty() && lent_.size() < batch_) {
    QueuedEvent next = std::move(events_.front());
    events_.pop_front();
    if (is_over(next)) continue;
    lent_.push_back(std::move(next));
    QueuedEvent& queued = lent_.back();
    nebula_event& event = queued.event;
    static constexpr uint8_t empty = 0;
    if (queued.has_data) {
      event.data = queued.data.empty() ? &empty : reinterpret_cast<const uint8_t*>(queued.data.data());
      event.size = static_cast<uint32_t>(queued.data.size());
      event.buffer = reinterpret_cast<nebula_buffer*>(queued.data.block());
    }
    if (event.kind == NEBULA_EV_CANCELLED) remove_call(event.call);
  }
  for (QueuedEvent& queued : lent_) {  // now that they stay where they are
    std::string_view block = queued.metadata.block();
    queued.event.metadata = reinterpret_cast<const uint8_t*>(block.data());
    queued.event.metadata_size = static_cast<uint32_t>(block.size());
    std::memcpy(at, &queued.event, std::min<size_t>(stride_, sizeof(nebula_event)));
    at += stride_;
  }
  return static_cast<int32_t>(lent_.size());
}

void nebula_queue::push(QueuedEvent event) { events_.push_back(std::move(event)); }

// ---- what the binding asks

void nebula_queue::apply(Operation operation) {
  CallRecord* record = find(operation.call);
  if (record == nullptr) return;  // it died on the way; the binding has heard, or will
  if (operation.kind == Operation::consume) {
    record->consume(operation.value);
    if (record->in != nullptr) take(*record);
  } else if (record->side == Side::client) {
    apply_client(static_cast<ClientRecord&>(*record), std::move(operation));
  } else {
    apply_server(static_cast<ServerRecord&>(*record), std::move(operation));
  }
}

// Of a server's call that the binding has ended it hears no more.
bool nebula_queue::is_over(const QueuedEvent& queued) const {
  bool may_be = queued.is_of_server && queued.event.kind != NEBULA_EV_CALL && queued.event.kind != NEBULA_EV_CANCELLED;
  return may_be && !server_calls_.contains(queued.event.call);
}

void nebula_queue::settle_lent() {
  for (const QueuedEvent& queued : lent_) {
    if (queued.event.kind != NEBULA_EV_MESSAGE) continue;
    CallRecord* record = find(queued.event.call);
    if (record == nullptr || record->holds) continue;
    record->owed -= queued.data.size() + limits::event_bytes;
    if (record->in != nullptr) take(*record);
  }
  lent_.clear();
}

// ---- the peer's messages

CallRecord* nebula_queue::find(uint64_t id) {
  if (auto found = server_calls_.find(id); found != server_calls_.end()) return found->second.get();
  if (auto found = client_calls_.find(id); found != client_calls_.end()) return found->second.get();
  return nullptr;
}

void nebula_queue::take(CallRecord& record) {
  bool has_message = false;
  while (record.owed < limits::stream_events_bytes || record.in->is_cut()) {
    Bytes message;
    switch (record.in->next(&message)) {
      case Source::Next::later: return;
      case Source::Next::end: return on_source_end(record, has_message);
      case Source::Next::message: break;
    }
    has_message = true;
    record.owed += message.size() + limits::event_bytes;
    if (record.holds) record.held.push_back(static_cast<uint32_t>(message.size()));
    QueuedEvent queued = event_of(record, NEBULA_EV_MESSAGE);
    queued.data = std::move(message);
    queued.has_data = true;
    push(std::move(queued));
  }
}

void nebula_queue::on_source_end(CallRecord& record, bool has_message) {
  std::unique_ptr<Source> ended = std::move(record.in);
  if (record.side == Side::client) {
    std::unique_ptr<ClientRecord> call = std::move(client_calls_.find(record.id)->second);
    client_calls_.erase(record.id);
    return push_finished(*call, ended->ending(), {});
  }
  if (!ended->ending().status.ok()) return;  // a CANCELLED event follows
  if (has_message)
    events_.back().event.flags |= NEBULA_END;
  else
    push(event_of(record, NEBULA_EV_END));
}

// ---- server side

void nebula_queue::serve(const ServedMethod& method, Request request, Reply reply) {
  if (events_.size() >= capacity_) return reply(resource_exhausted("the server has too many calls waiting to be looked at"));
  std::unique_ptr<ServerRecord> record = std::make_unique<ServerRecord>(this, Side::server, method.tag);
  record->context = request.context;
  record->holds = method.holds;
  record->encoding = method.encoding;
  record->facts.path = request.method->path;
  record->facts.shape = request.method->shape;
  record->facts.peer = request.context->peer().address;
  record->facts.deadline = request.context->deadline();
  uint64_t id = record->id = add_call(this, Side::server, &record->facts);
  if (id == 0) return reply(resource_exhausted("the server has too many open calls"));
  record->reply = std::move(reply);
  request.context->on_cancel([this, id](const Status& why) { on_server_call_dead(id, why); });

  QueuedEvent queued = event_of(*record, NEBULA_EV_CALL);
  queued.event.flags = flags_of_codec(request.codec);
  uint64_t left = microseconds_left(request.context->deadline(), worker->loop().now());
  queued.event.value = left == UINT64_MAX ? 0 : left;
  queued.metadata = std::move(request.metadata);
  if (Bytes* message = std::get_if<Bytes>(&request.body)) {
    queued.event.flags |= NEBULA_END;
    queued.data = std::move(*message);
    queued.has_data = true;
  }
  push(std::move(queued));
  CallRecord& call = *server_calls_.emplace(id, std::move(record)).first->second;
  if (std::unique_ptr<Source>* source = std::get_if<std::unique_ptr<Source>>(&request.body)) {
    call.in = std::move(*source);
    call.in->on_ready([this, id] { take(*find(id)); });
    take(call);
  }
}

void nebula_queue::apply_server(ServerRecord& record, Operation operation) {
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
        if (operation.message) record.out->push(std::move(*operation.message), operation.compress);
        if (operation.is_last) answer(record, std::move(operation));
        return;
      }
      if (record.message) {
        remove_call(record.id);  // answered here, so whatever else the handler says is stale
        operation.status = internal("the handler sent two messages for a method that answers with one");
        return answer(record, std::move(operation));
      }
      record.message = std::move(operation.message);
      record.compress = operation.compress;
      if (operation.is_last) answer(record, std::move(operation));
      return;
    default: return answer(record, std::move(operation));
  }
}

// False: that was its end.
bool nebula_queue::begin_responses(ServerRecord& record) {
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

void nebula_queue::answer(ServerRecord& record, Operation operation) {
  std::unique_ptr<ServerRecord> ended = std::move(server_calls_.find(record.id)->second);
  server_calls_.erase(record.id);
  record.context->on_cancel(nullptr);
  record.in.reset();
  Response response;
  response.status = std::move(operation.status);
  response.trailers = std::move(operation.metadata);
  if (!record.reply) return record.out->end(std::move(response));
  response.codec = record.codec;
  if (record.compress) response.encoding = record.encoding;
  response.metadata = std::move(record.initial);
  if (record.message) response.body = std::move(*record.message);
  record.reply(std::move(response));
}

void nebula_queue::on_server_call_dead(uint64_t id, const Status& why) {
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
    push(std::move(queued));
  }
  if (record->reply) record->reply(why);  // nobody hears it
}

// ---- client side

void nebula_queue::start(std::unique_ptr<ClientRecord> started, Operation operation) {
  ClientRecord& record = *started;
  uint64_t id = record.id;
  client_calls_.emplace(id, std::move(started));
  Reply reply([this, id](Result<Response> result) { on_response(id, std::move(result)); });
  Result<Service*> service = channel_to(*record.method->target);
  if (!service.ok()) return reply(service.status());
  Request request{&record.method->method, &record.context, std::move(operation.metadata), {}};
  if (streams_requests(record.facts.shape)) {
    std::unique_ptr<Feed> feed = std::make_unique<Feed>(record);
    request.encoding = operation.encoding;
    if (operation.message) feed->push(std::move(*operation.message), operation.compress);
    if (operation.is_last) feed->end({});
    request.body = std::move(feed);
  } else {
    if (operation.compress) request.encoding = operation.encoding;
    request.body = std::move(*operation.message);
  }
  request.codec = operation.codec.value_or(Codec::any);
  request.wait_for_ready = operation.wait_for_ready;
  (*service)->call(std::move(request), std::move(reply));
}

Result<Service*> nebula_queue::channel_to(const ChannelTarget& target) {
  auto found = channels_.find(&target);
  if (found == channels_.end()) {
    TRY(std::unique_ptr<Service> channel, worker->open_channel(target.url, target.limits));
    found = channels_.emplace(&target, std::move(channel)).first;
  }
  return found->second.get();
}

void nebula_queue::apply_client(ClientRecord& record, Operation operation) {
  switch (operation.kind) {
    case Operation::tag: record.tag = operation.value; return;
    case Operation::cancel: return record.context.cancel(std::move(operation.status));
    default: break;
  }
  if (record.out == nullptr) return;  // the server has ended the call, and we hear of it presently
  Feed& feed = *record.out;
  if (operation.message) feed.push(std::move(*operation.message), operation.compress);
  if (operation.is_last && record.out != nullptr) feed.end({});
}

void nebula_queue::on_response(uint64_t id, Result<Response> result) {
  auto found = client_calls_.find(id);
  NEBULA_ASSERT(found != client_calls_.end());
  ClientRecord& record = *found->second;
  Response response = result.ok() ? std::move(*result) : Response{{result.status(), {}, Fate::unsent}};
  std::unique_ptr<Source>* source = std::get_if<std::unique_ptr<Source>>(&response.body);
  if (record.wants_headers && (source != nullptr || !response.metadata.empty())) {
    QueuedEvent queued = event_of(record, NEBULA_EV_HEADERS);
    queued.metadata = std::move(response.metadata);
    push(std::move(queued));
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

void nebula_queue::push_finished(ClientRecord& record, Ending& ending, std::optional<Bytes> message) {
  remove_call(record.id);
  QueuedEvent queued = event_of(record, NEBULA_EV_FINISHED);
  queued.event.flags = NEBULA_END;
  queued.event.status = static_cast<int32_t>(ending.status.code());
  queued.event.value = static_cast<uint64_t>(ending.fate) |
                       static_cast<uint64_t>(fault_of(ending.status.code(), ending.fate)) << 8;
  queued.metadata = std::move(ending.trailers);
  if (!ending.status.ok()) message = Bytes::copy(ending.status.message());
  if (message) {
    queued.data = std::move(*message);
    queued.has_data = true;
  }
  push(std::move(queued));
}

void nebula_queue::forget(const ChannelTarget* target) {
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

// ---- the functions

extern "C" {

nebula_queue* nebula_queue_new(nebula_engine* engine, const nebula_queue_options* options, nebula_error* error) {
  nebula_queue_options known;
  if (!read_options(options, &known)) return fail(error, NEBULA_E_VERSION, options_message), nullptr;
  if (engine == nullptr || known.mode != NEBULA_QUEUE_INLINE ||
      (known.event_size != 0 && (known.event_size < sizeof(nebula_event) || known.event_size % 8 != 0)))
    return fail(error, NEBULA_E_ARGUMENT, "queue: an engine is needed; mode must be NEBULA_QUEUE_INLINE"), nullptr;
  if (engine->is_forked()) return fail(error, NEBULA_E_FORKED, forked_message), nullptr;
  Result<std::unique_ptr<Worker>> worker = Worker::make(*engine->engine);
  if (!worker.ok()) return fail(error, worker.status()), nullptr;
  Result<Housekeeper*> housekeeper = engine->engine->housekeeper();
  if (!housekeeper.ok()) return fail(error, housekeeper.status()), nullptr;
  nebula_queue* queue = new nebula_queue(engine, known, std::move(*worker), *housekeeper);
  std::lock_guard<std::mutex> hold(engine->lock);
  engine->queues.push_back(queue);
  return queue;
}

void nebula_queue_free(nebula_queue* queue) {
  if (queue == nullptr || queue->engine->is_forked()) return;  // the parent's: not ours to close
  {
    std::lock_guard<std::mutex> hold(queue->engine->lock);
    std::erase(queue->engine->queues, queue);
  }
  delete queue;
}

int32_t nebula_queue_fd(nebula_queue* queue) {
  if (queue == nullptr) return NEBULA_E_ARGUMENT;
  return queue->engine->is_forked() ? NEBULA_E_FORKED : queue->worker->loop().fd();
}

const nebula_event* nebula_queue_events(nebula_queue* queue) {
  return queue == nullptr ? nullptr : reinterpret_cast<const nebula_event*>(queue->array.data());
}

int32_t nebula_poll(nebula_queue* queue, int32_t timeout_ms) {
  if (queue == nullptr) return NEBULA_E_ARGUMENT;
  return queue->engine->is_forked() ? NEBULA_E_FORKED : queue->poll(timeout_ms);
}

int32_t nebula_wake(nebula_queue* queue, uint64_t tag) {
  if (queue == nullptr) return NEBULA_E_ARGUMENT;
  if (queue->engine->is_forked()) return NEBULA_E_FORKED;
  nebula_event event{};
  event.kind = NEBULA_EV_WAKE;
  event.tag = tag;
  queue->post_event(event);
  return NEBULA_OK;
}

int32_t nebula_run(nebula_queue* queue, nebula_handler handler, void* context) {
  if (queue == nullptr || handler == nullptr) return NEBULA_E_ARGUMENT;
  const char* events = queue->array.data();
  size_t stride = queue->stride();
  while (true) {
    int32_t count = nebula_poll(queue, -1);
    if (count < 0) return count;
    for (int32_t i = 0; i < count; i++) {
      int32_t verdict = handler(context, reinterpret_cast<const nebula_event*>(events + i * stride));
      if (verdict != 0) return verdict;
    }
  }
}

}  // extern "C"
