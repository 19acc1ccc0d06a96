// capi/queue.cc - one turn: apply what was submitted, run the loop, hand out events.
#include "queue.h"

#include <algorithm>
#include <cstring>

using namespace nebula;

static_assert(sizeof(nebula_event) == 64);

// ---- Driver

nebula_queue::Driver::Driver(nebula_queue& queue) : queue_(queue) {
  queue.setups_++;
  queue.worker->loop().post([] {});  // ends a wait
  queue.driver_lock_.lock();
}

nebula_queue::Driver::~Driver() {
  queue_.setups_--;
  queue_.driver_lock_.unlock();
  queue_.setup_over_.notify_all();
}

// ---- life

nebula_queue::nebula_queue(nebula_engine* engine, const nebula_queue_options& options, std::unique_ptr<Worker> worker)
    : engine(engine),
      worker(std::move(worker)),
      stride_(options.event_size == 0 ? sizeof(nebula_event) : options.event_size),
      batch_(options.batch == 0 ? limits::poll_batch : options.batch),
      capacity_(options.capacity == 0 ? limits::queue_events_max : options.capacity) {
  array.resize(size_t{stride_} * batch_);
}

nebula_queue::~nebula_queue() {
  remove_calls(this);  // from here on nobody finds the way to this loop
  channels_.clear();   // answers what is open, into a queue that nobody will read
  server_calls_.clear();
}

// ---- from any thread

void nebula_queue::post(Operation operation) {
  worker->loop().post([this, operation = std::move(operation)]() mutable { apply(std::move(operation)); });
}

void nebula_queue::post_start(uint64_t id, std::unique_ptr<ClientRecord> record, Operation operation) {
  worker->loop().post([this, id, record = std::move(record), operation = std::move(operation)]() mutable {
    start(id, std::move(record), std::move(operation));
  });
}

void nebula_queue::post_event(nebula_event event) {
  worker->loop().post([this, event] { push(QueuedEvent{event, {}, false, {}}); });
}

void nebula_queue::post_forget(std::shared_ptr<const ChannelTarget> target) {
  worker->loop().post([this, target = std::move(target)] { forget(target.get()); });
}

// ---- poll

int32_t nebula_queue::poll(int32_t timeout_ms) {
  if (in_poll_.exchange(true)) return NEBULA_E_BUSY;
  int32_t count = 0;
  {
    // A mutex is not fair: the thread that polls in a loop would have it again before the other one woke up.
    std::unique_lock<std::mutex> drive(driver_lock_);
    setup_over_.wait(drive, [this] { return setups_ == 0; });
    lent_.clear();
    UvLoop& loop = worker->loop();
    Time end = loop.now() + ms(timeout_ms);
    Duration wait = ms(timeout_ms);  // negative: for ever
    while (true) {
      // Even with events in hand: this turn is also what sends the caller's submissions.
      loop.run_once(events_.empty() ? wait : ms(0));
      if (!events_.empty() || setups_ > 0 || timeout_ms == 0) break;
      if (timeout_ms < 0) continue;
      wait = end - loop.now();
      if (wait <= ms(0)) break;
    }
    count = deliver();
    if (!events_.empty()) loop.raise();
  }
  in_poll_ = false;
  return count;
}

int32_t nebula_queue::deliver() {
  char* at = array.data();
  while (!events_.empty() && lent_.size() < batch_) {
    lent_.push_back(std::move(events_.front()));
    events_.pop_front();
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
  if (operation.side == Side::client) {
    auto found = client_calls_.find(operation.call);
    if (found != client_calls_.end()) found->second->context.cancel(std::move(operation.status));
    return;
  }
  auto found = server_calls_.find(operation.call);
  if (found == server_calls_.end()) return;  // it died on the way; the binding has heard, or will
  switch (operation.kind) {
    case Operation::tag: found->second->tag = operation.value; return;
    case Operation::headers: found->second->initial = std::move(operation.metadata); return;
    case Operation::hold: return hold(*found->second, std::move(operation));
    default: return answer(std::move(operation));
  }
}

void nebula_queue::hold(ServerRecord& record, Operation operation) {
  if (record.message) {
    remove_call(operation.call);  // answered here, so whatever else the handler says is stale
    operation.status = internal("the handler sent two messages for a unary method");
    return answer(std::move(operation));
  }
  record.message = std::move(operation.message);
  record.codec = operation.codec;
}

void nebula_queue::answer(Operation operation) {
  auto found = server_calls_.find(operation.call);
  std::unique_ptr<ServerRecord> record = std::move(found->second);
  server_calls_.erase(found);
  record->context->on_cancel(nullptr);
  Response response;
  response.status = std::move(operation.status);
  response.codec = operation.codec ? operation.codec : record->codec;
  response.metadata = std::move(record->initial);
  response.trailers = std::move(operation.metadata);
  std::optional<Bytes>& message = operation.message ? operation.message : record->message;
  if (message) response.body = std::move(*message);
  record->reply(std::move(response));
}

// ---- server side

void nebula_queue::serve(uint64_t tag, Request request, Reply reply) {
  if (events_.size() >= capacity_) return reply(resource_exhausted("the server has too many calls waiting to be looked at"));
  std::unique_ptr<ServerRecord> record = std::make_unique<ServerRecord>();
  record->tag = tag;
  record->context = request.context;
  record->facts = {request.method->path, request.context->peer().address, request.context->deadline()};
  uint64_t id = add_call(this, Side::server, &record->facts);
  if (id == 0) return reply(resource_exhausted("the server has too many open calls"));
  record->reply = std::move(reply);
  request.context->on_cancel([this, id](const Status& why) { on_server_call_dead(id, why); });

  QueuedEvent queued;
  queued.event.kind = NEBULA_EV_CALL;
  queued.event.call = id;
  queued.event.tag = tag;
  queued.event.flags = static_cast<uint16_t>(NEBULA_END | flags_of_codec(request.codec));
  uint64_t left = microseconds_left(request.context->deadline(), worker->loop().now());
  queued.event.value = left == UINT64_MAX ? 0 : left;
  queued.metadata = std::move(request.metadata);
  if (Bytes* message = std::get_if<Bytes>(&request.body)) {
    queued.data = std::move(*message);
    queued.has_data = true;
  }
  server_calls_.emplace(id, std::move(record));
  push(std::move(queued));
}

void nebula_queue::on_server_call_dead(uint64_t id, const Status& why) {
  auto found = server_calls_.find(id);
  if (found == server_calls_.end()) return;
  bool is_told = mark_dead(id);
  std::unique_ptr<ServerRecord> record = std::move(found->second);
  server_calls_.erase(found);
  if (is_told) {
    QueuedEvent queued;
    queued.event.kind = NEBULA_EV_CANCELLED;
    queued.event.call = id;
    queued.event.tag = record->tag;
    queued.event.status = static_cast<int32_t>(why.code());
    queued.data = Bytes::copy(why.message());
    queued.has_data = true;
    push(std::move(queued));
  }
  record->reply(why);  // nobody hears it
}

// ---- client side

void nebula_queue::start(uint64_t id, std::unique_ptr<ClientRecord> record, Operation operation) {
  ClientRecord& call = *record;
  client_calls_.emplace(id, std::move(record));
  Reply reply([this, id](Result<Response> result) { on_response(id, std::move(result)); });
  Result<Service*> service = channel_to(*call.method->target);
  if (!service.ok()) return reply(service.status());
  Request request{&call.method->method, &call.context, std::move(operation.metadata), std::move(*operation.message)};
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

void nebula_queue::on_response(uint64_t id, Result<Response> result) {
  auto found = client_calls_.find(id);
  NEBULA_ASSERT(found != client_calls_.end());
  std::unique_ptr<ClientRecord> record = std::move(found->second);
  client_calls_.erase(found);
  remove_call(id);
  Response response = result.ok() ? std::move(*result) : Response{{}, {}, {}, result.status()};
  if (record->wants_headers && !response.metadata.empty()) {
    QueuedEvent queued;
    queued.event.kind = NEBULA_EV_HEADERS;
    queued.event.call = id;
    queued.event.tag = record->tag;
    queued.metadata = std::move(response.metadata);
    push(std::move(queued));
  }
  QueuedEvent queued;
  queued.event.kind = NEBULA_EV_FINISHED;
  queued.event.call = id;
  queued.event.tag = record->tag;
  queued.event.flags = NEBULA_END;
  queued.event.status = static_cast<int32_t>(response.status.code());
  queued.metadata = std::move(response.trailers);
  if (Bytes* message = std::get_if<Bytes>(&response.body)) {
    queued.data = std::move(*message);
    queued.has_data = true;
  } else if (!response.status.ok()) {
    queued.data = Bytes::copy(response.status.message());
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
  nebula_queue* queue = new nebula_queue(engine, known, std::move(*worker));
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
