// capi/handle.cc - calls and methods by number.
#include "handle.h"

#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/limits.h"
#include "base/room.h"
#include "base/slots.h"
#include "queue.h"

namespace nebula {

namespace {

struct Handle {
  nebula_queue* queue = nullptr;
  Calls* calls = nullptr;
  CallFacts* facts = nullptr;
  Side side = Side::any;
  bool is_dead = false;
};

struct Table {
  std::mutex lock;
  Slots<Handle> calls;
  Slots<std::shared_ptr<const ClientMethod>> methods;
};

// Leaked on purpose: threads of the program may still call in while it exits.
Table& table() {
  static Table* table = [] {
    // Without this a child that is forked while another thread holds the lock would wait for it for ever.
    pthread_atfork([] { nebula::table().lock.lock(); }, [] { nebula::table().lock.unlock(); },
                   [] { nebula::table().lock.unlock(); });
    return new Table();
  }();
  return *table;
}

void copy_text(char* out, size_t size, std::string_view text) {
  size_t part = std::min(size - 1, text.size());
  if (part > 0) std::memcpy(out, text.data(), part);  // of none the data is null
  out[part] = 0;
}

// Whether the call's side may send this message now, and whether it had better wait with the next.
int32_t account(Handle& handle, const Operation& operation) {
  CallFacts& facts = *handle.facts;
  bool is_stream = facts.streams_out(handle.side);
  if (facts.has_said_end) return NEBULA_E_STATE;
  if (!is_stream && (handle.side == Side::client || !operation.message || operation.count > 1)) return NEBULA_E_STATE;
  facts.has_said_end = operation.is_last;
  if (!is_stream || !operation.message) return NEBULA_OK;
  // Before the message is posted: whoever takes it sees the mark, so that WRITABLE is not lost.
  size_t cost = operation.message->size() + limits::event_bytes;
  size_t unsent = facts.unsent.fetch_add(cost) + cost;
  if (unsent <= limits::stream_send_high || operation.is_last) return NEBULA_OK;
  facts.is_full = true;
  return NEBULA_FULL;
}

// Posts it. `over`: where the call lives, if that had better be relieved once the lock is free.
int32_t hand_over(uint64_t id, Side side, std::unique_ptr<Operation> operation, Calls** over) {
  std::lock_guard<std::mutex> hold(table().lock);
  Handle* handle = table().calls.find(id);
  if (handle == nullptr || handle->is_dead) return NEBULA_E_STALE;
  if (handle->queue->engine->is_forked()) return NEBULA_E_FORKED;
  if (side != Side::any && handle->side != side) return NEBULA_E_STATE;
  bool is_server = handle->side == Side::server;
  bool ends_call = is_server && operation->ends();
  int32_t result = NEBULA_OK;
  if (operation->kind == Operation::send) {
    result = account(*handle, *operation);
    if (result < 0) return result;
  }
  handle->calls->post(std::move(operation));
  if (handle->calls->is_piled_up()) *over = handle->calls;
  if (ends_call) table().calls.remove(id);
  return result;
}

}  // namespace

uint64_t add_method(std::shared_ptr<const ClientMethod> method) {
  std::lock_guard<std::mutex> hold(table().lock);
  return table().methods.add(std::move(method));
}

std::shared_ptr<const ClientMethod> find_method(uint64_t id) {
  std::lock_guard<std::mutex> hold(table().lock);
  std::shared_ptr<const ClientMethod>* method = table().methods.find(id);
  return method == nullptr ? nullptr : *method;
}

void remove_method(uint64_t id) {
  std::lock_guard<std::mutex> hold(table().lock);
  table().methods.remove(id);
}

uint64_t add_call(nebula_queue* queue, Calls* calls, Side side, CallFacts* facts) {
  std::lock_guard<std::mutex> hold(table().lock);
  return table().calls.add(Handle{queue, calls, facts, side, false});
}

void remove_call(uint64_t id) {
  std::lock_guard<std::mutex> hold(table().lock);
  table().calls.remove(id);
}

bool is_live(uint64_t id) {
  std::lock_guard<std::mutex> hold(table().lock);
  Handle* handle = table().calls.find(id);
  return handle != nullptr && !handle->is_dead;
}

void remove_calls(const nebula_queue* queue) {
  std::lock_guard<std::mutex> hold(table().lock);
  table().calls.remove_if([&](const Handle& handle) { return handle.queue == queue; });
}

bool mark_dead(uint64_t id) {
  std::lock_guard<std::mutex> hold(table().lock);
  Handle* handle = table().calls.find(id);
  if (handle == nullptr) return false;
  handle->is_dead = true;
  return true;
}

int32_t submit(uint64_t id, Side side, std::unique_ptr<Operation> operation) {
  Calls* calls = nullptr;
  int32_t result = hand_over(id, side, std::move(operation), &calls);
  if (calls != nullptr) calls->place().relieve();
  return result;
}

bool has_room(uint64_t id, size_t bytes) {
  std::lock_guard<std::mutex> hold(table().lock);
  Handle* handle = table().calls.find(id);
  if (handle == nullptr || handle->is_dead || handle->side == Side::client) return true;
  const CallFacts& facts = *handle->facts;
  return facts.streams_out(Side::server) || facts.peer->room->has(bytes);
}

int32_t describe(uint64_t id, nebula_call_info* out) {
  std::lock_guard<std::mutex> hold(table().lock);
  Handle* handle = table().calls.find(id);
  if (handle == nullptr || handle->is_dead) return NEBULA_E_STALE;
  const CallFacts& facts = *handle->facts;
  out->shape = static_cast<int32_t>(facts.shape);
  copy_text(out->method, sizeof out->method, facts.path);
  copy_text(out->peer, sizeof out->peer, facts.peer == nullptr ? std::string_view() : facts.peer->address);
  out->left_us = microseconds_left(facts.deadline, monotonic_now());
  return NEBULA_OK;
}

NestedShare nested_of(uint64_t id) {
  std::lock_guard<std::mutex> hold(table().lock);
  Handle* handle = table().calls.find(id);
  if (handle == nullptr || handle->is_dead || handle->side != Side::server || handle->queue->engine->is_forked()) return {};
  Context& context = *handle->facts->context;
  if (context.nested() == nullptr) context.set_nested(NestedRetries::make(context.retries_left()));
  return context.nested()->share();
}

}  // namespace nebula
