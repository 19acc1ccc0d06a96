// capi/handle.cc - calls and methods by number.
#include "handle.h"

#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/slots.h"
#include "queue.h"

namespace nebula {

namespace {

struct Handle {
  nebula_queue* queue = nullptr;
  const CallFacts* facts = nullptr;
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
  std::memcpy(out, text.data(), part);
  out[part] = 0;
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

uint64_t add_call(nebula_queue* queue, Side side, const CallFacts* facts) {
  std::lock_guard<std::mutex> hold(table().lock);
  return table().calls.add(Handle{queue, facts, side, false});
}

void remove_call(uint64_t id) {
  std::lock_guard<std::mutex> hold(table().lock);
  table().calls.remove(id);
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

int32_t submit(uint64_t id, Side side, bool ends, Operation operation) {
  std::lock_guard<std::mutex> hold(table().lock);
  Handle* handle = table().calls.find(id);
  if (handle == nullptr || handle->is_dead) return NEBULA_E_STALE;
  if (handle->queue->engine->is_forked()) return NEBULA_E_FORKED;
  if (side != Side::any && handle->side != side) return NEBULA_E_STATE;
  operation.side = handle->side;
  handle->queue->post(std::move(operation));
  if (ends && handle->side == Side::server) table().calls.remove(id);
  return NEBULA_OK;
}

int32_t describe(uint64_t id, nebula_call_info* out) {
  std::lock_guard<std::mutex> hold(table().lock);
  Handle* handle = table().calls.find(id);
  if (handle == nullptr || handle->is_dead) return NEBULA_E_STALE;
  const CallFacts& facts = *handle->facts;
  out->shape = NEBULA_UNARY;
  copy_text(out->method, sizeof out->method, facts.path);
  copy_text(out->peer, sizeof out->peer, facts.peer);
  out->left_us = microseconds_left(facts.deadline, monotonic_now());
  return NEBULA_OK;
}

}  // namespace nebula
