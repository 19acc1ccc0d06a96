// capi/queue.cc - events, on their way from the queue to the binding and back.
#include "queue.h"

#include <algorithm>
#include <cstring>

#include "inline_queue.h"
#include "threaded_queue.h"

using namespace nebula;

static_assert(sizeof(nebula_event) == 64);

nebula_queue::nebula_queue(nebula_engine* engine, const nebula_queue_options& options)
    : engine(engine),
      capacity_(options.capacity == 0 ? limits::queue_events_max : options.capacity),
      stride_(options.event_size == 0 ? sizeof(nebula_event) : options.event_size),
      batch_(options.batch == 0 ? limits::poll_batch : options.batch),
      answers_(options.batch == 0 ? limits::poll_answers : options.batch) {
  array.resize(size_t{stride_} * batch_);
}

int32_t nebula_queue::deliver() {
  char* at = array.data();
  uint32_t answers = 0;
  while (!events_.empty() && lent_.size() < batch_ && answers < answers_) {
    QueuedEvent next = events_.pop();
    // Of a server's call that the binding has ended it hears no more.
    bool may_be_over = next.is_of_server && next.event.kind != NEBULA_EV_CALL && next.event.kind != NEBULA_EV_CANCELLED;
    if (may_be_over && !is_live(next.event.call)) continue;
    if (!next.is_of_server && (lent_.empty() || lent_.back().event.call != next.event.call)) answers++;
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

std::vector<Settled> nebula_queue::take_back() {
  std::vector<Settled> settled;
  for (const QueuedEvent& queued : lent_)
    if (queued.event.kind == NEBULA_EV_MESSAGE)
      settled.push_back({queued.calls, queued.event.call, queued.data.size() + limits::event_bytes});
  lent_.clear();
  return settled;
}

// ---- the functions

extern "C" {

nebula_queue* nebula_queue_new(nebula_engine* engine, const nebula_queue_options* options, nebula_error* error) {
  nebula_queue_options known;
  if (!read_options(options, &known)) return fail(error, NEBULA_E_VERSION, options_message), nullptr;
  bool is_mode = known.mode == NEBULA_QUEUE_INLINE || known.mode == NEBULA_QUEUE_THREADED;
  if (engine == nullptr || !is_mode ||
      (known.event_size != 0 && (known.event_size < sizeof(nebula_event) || known.event_size % 8 != 0)))
    return fail(error, NEBULA_E_ARGUMENT, "queue: an engine is needed, and a mode that there is"), nullptr;
  if (engine->is_forked()) return fail(error, NEBULA_E_FORKED, forked_message), nullptr;
  Result<std::unique_ptr<nebula_queue>> queue =
      known.mode == NEBULA_QUEUE_INLINE ? InlineQueue::make(engine, known) : ThreadedQueue::make(engine, known);
  if (!queue.ok()) return fail(error, queue.status()), nullptr;
  return queue->release();
}

void nebula_queue_free(nebula_queue* queue) {
  if (queue == nullptr || queue->engine->is_forked()) return;  // the parent's: not ours to close
  delete queue;
}

int32_t nebula_queue_fd(nebula_queue* queue) {
  if (queue == nullptr) return NEBULA_E_ARGUMENT;
  return queue->engine->is_forked() ? NEBULA_E_FORKED : queue->fd();
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
