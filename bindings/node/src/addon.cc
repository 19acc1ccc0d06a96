// addon.cc - nebula.h as functions of JavaScript, and the queue of an isolate in Node's own loop.
//
// A queue is polled when its descriptor is readable, and once in a turn of the loop after something was submitted. The
// events of a poll are copied into one array of numbers and one of bytes, and JavaScript is called once for all; what
// they mean is decided in lib/engine.js and above. Each function here is one crossing.
//
// Everything of an isolate (the main thread's, or a worker's) lives on its thread. The engine is the process's.
#include <nebula.h>
#include <node_api.h>
#include <uv.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_set>

namespace {

constexpr uint32_t batch_max = 256;       // events of one poll at most: the default of nebula_queue_options
constexpr uint32_t fields = 9;            // numbers of an event: see deliver()
constexpr size_t slab_bytes = 256 << 10;  // messages and metadata of one poll; more get an array of their own
constexpr int polls_max = 4;              // in a row, before others on the loop get their turn

// What can only fail for want of memory, or by a mistake in this file.
void must(napi_status status) {
  if (status != napi_ok) napi_fatal_error("nebula", NAPI_AUTO_LENGTH, "Node-API failed", NAPI_AUTO_LENGTH);
}

// It is never freed: its threads may serve until the process ends, and whichever isolate is the last does not know.
nebula_engine* engine_of_process(nebula_error* error) {
  static std::mutex lock;
  static nebula_engine* engine;
  std::lock_guard<std::mutex> hold(lock);
  if (!engine) engine = nebula_engine_new(nullptr, error);
  return engine;
}

struct Isolate;

// A channel or a server, which must be freed before the queue; whichever comes first does it: JavaScript, its garbage
// collector, the end of the isolate.
struct Handle {
  Isolate* isolate;
  nebula_channel* channel;
  nebula_server* server;
};

struct Isolate {
  explicit Isolate(napi_env env) : env(env) {}

  napi_env env;
  nebula_queue* queue = nullptr;
  std::unordered_set<Handle*> handles;

  uv_poll_t readable;
  uv_idle_t flush;
  int closing = 0;  // of those two
  napi_async_cleanup_hook_handle cleanup = nullptr;

  napi_ref deliver = nullptr, numbers_ref = nullptr, bytes_ref = nullptr;
  napi_async_context context = nullptr;
  double* numbers = nullptr;
  uint8_t* bytes = nullptr;
  bool is_turning = false, is_dirty = false;
};

void free_handle(Handle& handle) {
  if (!handle.channel && !handle.server) return;
  nebula_channel_free(handle.channel);
  nebula_server_free(handle.server);
  handle.channel = nullptr;
  handle.server = nullptr;
  handle.isolate->handles.erase(&handle);
}

// ---- the loop -----------------------------------------------------------------------------------------------------

void turn(Isolate& isolate);

void submitted(Isolate& isolate) {
  if (isolate.is_dirty) return;
  isolate.is_dirty = true;
  // An idle handle runs in the loop's next turn, before the loop waits.
  if (!isolate.is_turning) {
    uv_idle_start(&isolate.flush, [](uv_idle_t* flush) { turn(*static_cast<Isolate*>(flush->data)); });
  }
}

// Numbers of an event, in this order: kind, tag, call, flags, status, value, where its message begins in the bytes, its
// size (-1: there is none), and the size of the metadata that follows.
void deliver(Isolate& isolate, int count) {
  const nebula_event* events = nebula_queue_events(isolate.queue);
  napi_env env = isolate.env;
  napi_handle_scope scope;
  must(napi_open_handle_scope(env, &scope));

  size_t total = 0;
  for (int i = 0; i < count; i++) total += events[i].size + events[i].metadata_size;
  uint8_t* bytes = isolate.bytes;
  napi_value arguments[2];
  must(napi_get_undefined(env, &arguments[1]));
  if (total > slab_bytes) must(napi_create_arraybuffer(env, total, reinterpret_cast<void**>(&bytes), &arguments[1]));

  size_t end = 0;
  for (int i = 0; i < count; i++) {
    const nebula_event& event = events[i];
    const double numbers[fields] = {
        double(event.kind),         double(event.tag),   double(event.call), double(event.flags),
        double(event.status),       double(event.value), double(end),        event.data ? double(event.size) : -1,
        double(event.metadata_size)};
    memcpy(isolate.numbers + i * fields, numbers, sizeof numbers);
    if (event.size) memcpy(bytes + end, event.data, event.size);
    if (event.metadata_size) memcpy(bytes + end + event.size, event.metadata, event.metadata_size);
    end += event.size + event.metadata_size;
  }

  napi_value function, none;
  must(napi_create_uint32(env, count, &arguments[0]));
  must(napi_get_reference_value(env, isolate.deliver, &function));
  must(napi_get_global(env, &none));
  // It fails when the isolate is about to end, and when JavaScript throws: as it would from any other event.
  if (napi_make_callback(env, isolate.context, none, function, 2, arguments, nullptr) == napi_pending_exception) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

void turn(Isolate& isolate) {
  uv_idle_stop(&isolate.flush);
  isolate.is_turning = true;
  // What is submitted while events are delivered leaves with this very turn.
  for (int polls = 0; polls == 0 || (isolate.is_dirty && polls < polls_max); polls++) {
    isolate.is_dirty = false;
    if (int count = nebula_poll(isolate.queue, 0); count > 0) deliver(isolate, count);
  }
  isolate.is_turning = false;
  if (isolate.is_dirty) {
    isolate.is_dirty = false;
    submitted(isolate);
  }
}

// The isolate ends, and its loop waits until this has been said to be done.
void on_end(napi_async_cleanup_hook_handle, void* data) {
  Isolate& isolate = *static_cast<Isolate*>(data);
  auto closed = [](uv_handle_t* handle) {
    Isolate* isolate = static_cast<Isolate*>(handle->data);
    if (--isolate->closing > 0) return;
    napi_remove_async_cleanup_hook(isolate->cleanup);
    delete isolate;
  };
  isolate.closing = 2;
  uv_close(reinterpret_cast<uv_handle_t*>(&isolate.readable), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&isolate.flush), closed);
  while (!isolate.handles.empty()) free_handle(**isolate.handles.begin());
  nebula_queue_free(isolate.queue);
}

// ---- arguments ----------------------------------------------------------------------------------------------------

struct Bytes {
  const void* data;  // NULL: none; of empty ones it is not
  uint32_t size;
};

// The arguments of one call from JavaScript. undefined and null are NULL.
struct Arguments {
  napi_env env;
  Isolate& isolate;
  napi_value at[7];
  std::string texts[7];

  napi_valuetype type(int i) const {
    napi_valuetype type;
    must(napi_typeof(env, at[i], &type));
    return type;
  }

  double number(int i) const {
    double number = 0;
    must(napi_get_value_double(env, at[i], &number));
    return number;
  }

  const char* text(int i) {
    if (type(i) != napi_string) return nullptr;
    size_t size;
    must(napi_get_value_string_utf8(env, at[i], nullptr, 0, &size));
    texts[i].resize(size);
    must(napi_get_value_string_utf8(env, at[i], texts[i].data(), size + 1, &size));
    return texts[i].c_str();
  }

  // A Uint8Array, or a string as UTF-8.
  Bytes bytes(int i) {
    if (const char* data = text(i)) return {data, uint32_t(texts[i].size())};
    bool is_array;
    must(napi_is_typedarray(env, at[i], &is_array));
    if (!is_array) return {nullptr, 0};
    size_t size;
    void* data;
    must(napi_get_typedarray_info(env, at[i], nullptr, &size, &data, nullptr, nullptr));
    return {size ? data : "", uint32_t(size)};
  }

  Handle& handle(int i) const {
    void* handle;
    must(napi_get_value_external(env, at[i], &handle));
    return *static_cast<Handle*>(handle);
  }

  // A field of an object of options: 0 is the default.
  uint32_t option(int i, const char* name) const {
    napi_value value;
    uint32_t number = 0;
    must(napi_get_named_property(env, at[i], name, &value));
    napi_get_value_uint32(env, value, &number);
    return number;
  }

  // The fields of a TLS object; its texts live in `kept`.
  bool tls(int i, nebula_tls* tls, std::string (&kept)[4]) const {
    if (type(i) != napi_object) return false;
    const char* names[4] = {"certificate", "key", "authorities", "serverName"};
    const char* texts[4] = {};
    for (int field = 0; field < 4; field++) {
      napi_value value;
      size_t size;
      must(napi_get_named_property(env, at[i], names[field], &value));
      if (napi_get_value_string_utf8(env, value, nullptr, 0, &size) != napi_ok) continue;
      kept[field].resize(size);
      must(napi_get_value_string_utf8(env, value, kept[field].data(), size + 1, &size));
      texts[field] = kept[field].c_str();
    }
    *tls = {sizeof *tls, 0, texts[0], texts[1], texts[2], texts[3]};
    return true;
  }

  napi_value of(double number) const {
    napi_value value;
    must(napi_create_double(env, number, &value));
    return value;
  }

  napi_value of(const char* text) const {
    napi_value value;
    must(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value));
    return value;
  }

  napi_value of(Handle* handle) {
    auto collected = [](napi_env, void* data, void*) {
      Handle* handle = static_cast<Handle*>(data);
      if (handle->channel || handle->server) {
        Isolate& isolate = *handle->isolate;
        free_handle(*handle);
        submitted(isolate);
      }
      delete handle;
    };
    isolate.handles.insert(handle);
    napi_value value;
    must(napi_create_external(env, handle, collected, nullptr, &value));
    return value;
  }

  // Throws what the engine refuses. The error's code is the name of the engine's, "NEBULA_E_ADDRESS".
  napi_value refuse(const nebula_error& error) const {
    const char* text = nebula_strerror(error.code);
    std::string code(text, strcspn(text, ":"));
    napi_throw_error(env, code.c_str(), error.message[0] ? error.message : text);
    return nullptr;
  }

  // The same for a function that returns a result; what is not refused is given back.
  napi_value checked(int32_t result) const {
    if (result >= 0) return of(double(result));
    nebula_error error = {};
    error.code = result;
    return refuse(error);
  }
};

// ---- functions ----------------------------------------------------------------------------------------------------

// open(deliver): the isolate's queue, once. Gives the two arrays that deliver(count, larger) reads; `larger` takes the
// place of the second where that is too small.
napi_value open(Arguments& a) {
  Isolate& isolate = a.isolate;
  nebula_error error = {};
  nebula_engine* engine = engine_of_process(&error);
  nebula_queue_options options = {};
  options.size = sizeof options;
  nebula_queue* queue = engine ? nebula_queue_new(engine, &options, &error) : nullptr;
  if (!queue) return a.refuse(error);

  uv_loop_t* loop;
  must(napi_get_uv_event_loop(a.env, &loop));
  isolate.readable.data = isolate.flush.data = &isolate;
  uv_idle_init(loop, &isolate.flush);
  uv_poll_init(loop, &isolate.readable, nebula_queue_fd(queue));
  auto on_readable = [](uv_poll_t* readable, int, int) { turn(*static_cast<Isolate*>(readable->data)); };
  uv_poll_start(&isolate.readable, UV_READABLE, on_readable);
  uv_unref(reinterpret_cast<uv_handle_t*>(&isolate.readable));
  isolate.queue = queue;
  must(napi_add_async_cleanup_hook(a.env, on_end, &isolate, &isolate.cleanup));

  napi_value numbers, bytes, arrays;
  must(napi_create_arraybuffer(a.env, batch_max * fields * sizeof(double), reinterpret_cast<void**>(&isolate.numbers),
                               &numbers));
  must(napi_create_arraybuffer(a.env, slab_bytes, reinterpret_cast<void**>(&isolate.bytes), &bytes));
  must(napi_create_reference(a.env, numbers, 1, &isolate.numbers_ref));
  must(napi_create_reference(a.env, bytes, 1, &isolate.bytes_ref));
  must(napi_create_reference(a.env, a.at[0], 1, &isolate.deliver));
  must(napi_async_init(a.env, nullptr, a.of("nebula"), &isolate.context));
  must(napi_create_object(a.env, &arrays));
  must(napi_set_named_property(a.env, arrays, "numbers", numbers));
  must(napi_set_named_property(a.env, arrays, "bytes", bytes));
  return arrays;
}

// hold(count): the process does not end by itself while it is not 0.
napi_value hold(Arguments& a) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&a.isolate.readable);
  a.number(0) ? uv_ref(handle) : uv_unref(handle);
  return nullptr;
}

// engineMetrics(tag)
napi_value engine_metrics(Arguments& a) {
  nebula_error error = {};
  return a.checked(nebula_engine_metrics(engine_of_process(&error), a.isolate.queue, uint64_t(a.number(0))));
}

napi_value server_new(Arguments& a) {
  nebula_server_options options = {};
  options.size = sizeof options;
  options.max_message = a.option(0, "maxMessage");
  options.max_streams = a.option(0, "maxStreams");
  options.max_connections = a.option(0, "maxConnections");
  options.keepalive_ms = a.option(0, "keepalive");
  options.keepalive_timeout_ms = a.option(0, "keepaliveTimeout");
  options.min_ping_ms = a.option(0, "minPing");
  options.max_idle_ms = a.option(0, "maxIdle");
  options.max_age_ms = a.option(0, "maxAge");
  options.max_age_grace_ms = a.option(0, "maxAgeGrace");
  options.compression = a.option(0, "compression");
  nebula_error error = {};
  nebula_server* server = nebula_server_new(engine_of_process(&error), &options, &error);
  return server ? a.of(new Handle{&a.isolate, nullptr, server}) : a.refuse(error);
}

napi_value server_method(Arguments& a) {
  return a.checked(nebula_server_method(a.handle(0).server, a.text(1), int32_t(a.number(2)), uint64_t(a.number(3))));
}

napi_value server_describe(Arguments& a) {
  Bytes set = a.bytes(1);
  return a.checked(nebula_server_describe(a.handle(0).server, set.data, set.size));
}

napi_value server_schema(Arguments& a) {
  Bytes document = a.bytes(2);
  return a.checked(nebula_server_schema(a.handle(0).server, a.text(1), document.data, document.size));
}

napi_value server_listen(Arguments& a) {
  nebula_tls tls;
  std::string kept[4];
  nebula_listen_options options = {sizeof options, 0, a.text(2), a.tls(3, &tls, kept) ? &tls : nullptr};
  nebula_error error = {};
  return nebula_server_listen(a.handle(0).server, a.text(1), &options, &error) < 0 ? a.refuse(error) : nullptr;
}

napi_value server_start(Arguments& a) {
  nebula_error error = {};
  return nebula_server_start(a.handle(0).server, &a.isolate.queue, 1, &error) < 0 ? a.refuse(error) : nullptr;
}

napi_value server_urls(Arguments& a) {
  nebula_server* server = a.handle(0).server;
  std::string urls(nebula_server_urls(server, nullptr, 0), 0);
  nebula_server_urls(server, urls.data(), uint32_t(urls.size() + 1));
  return a.of(urls.c_str());
}

napi_value server_health(Arguments& a) {
  return a.checked(nebula_server_health(a.handle(0).server, a.text(1), int32_t(a.number(2))));
}

napi_value server_drain(Arguments& a) {
  return a.checked(nebula_server_drain(a.handle(0).server, int32_t(a.number(1)), uint64_t(a.number(2))));
}

napi_value channel_new(Arguments& a) {
  nebula_tls tls;
  std::string kept[4];
  nebula_channel_options options = {};
  options.size = sizeof options;
  options.max_message = a.option(1, "maxMessage");
  options.keepalive_ms = a.option(1, "keepalive");
  options.keepalive_timeout_ms = a.option(1, "keepaliveTimeout");
  options.keepalive_always = a.option(1, "keepaliveAlways");
  options.max_idle_ms = a.option(1, "maxIdle");
  options.compression = a.option(1, "compression");
  options.tls = a.tls(2, &tls, kept) ? &tls : nullptr;
  options.policy = a.text(3);
  nebula_error error = {};
  nebula_channel* channel = nebula_channel_new(engine_of_process(&error), a.text(0), &options, &error);
  return channel ? a.of(new Handle{&a.isolate, channel, nullptr}) : a.refuse(error);
}

napi_value channel_method(Arguments& a) {
  return a.of(double(nebula_channel_method(a.handle(0).channel, a.text(1), int32_t(a.number(2)))));
}

// free(handle): of a channel or a server; harmless when repeated.
napi_value free_now(Arguments& a) {
  free_handle(a.handle(0));
  return nullptr;
}

napi_value call_start(Arguments& a) {
  Bytes metadata = a.bytes(3), data = a.bytes(4);
  return a.of(double(nebula_call_start_under(a.isolate.queue, uint64_t(a.number(0)), uint64_t(a.number(1)),
                                             uint64_t(a.number(2)), metadata.data, metadata.size, data.data, data.size,
                                             uint32_t(a.number(5)), uint64_t(a.number(6)))));
}

napi_value call_send(Arguments& a) {
  Bytes data = a.bytes(1);
  return a.of(double(nebula_call_send(uint64_t(a.number(0)), data.data, data.size, uint32_t(a.number(2)))));
}

// callSendAll(numbers, bytes, results, count): of each message its call, its flags and its size; the messages one after the
// other; what the engine says of each.
napi_value call_send_all(Arguments& a) {
  void *numbers, *bytes, *results;
  must(napi_get_typedarray_info(a.env, a.at[0], nullptr, nullptr, &numbers, nullptr, nullptr));
  must(napi_get_typedarray_info(a.env, a.at[1], nullptr, nullptr, &bytes, nullptr, nullptr));
  must(napi_get_typedarray_info(a.env, a.at[2], nullptr, nullptr, &results, nullptr, nullptr));
  const double* number = static_cast<const double*>(numbers);
  const char* data = static_cast<const char*>(bytes);
  int count = int(a.number(3));
  for (int i = 0; i < count; data += uint32_t(number[2]), number += 3, i++) {
    static_cast<int32_t*>(results)[i] =
        nebula_call_send(uint64_t(number[0]), data, uint32_t(number[2]), uint32_t(number[1]));
  }
  return nullptr;
}

napi_value call_finish(Arguments& a) {
  Bytes metadata = a.bytes(3);
  return a.of(
      double(nebula_call_finish(uint64_t(a.number(0)), int32_t(a.number(1)), a.text(2), metadata.data, metadata.size)));
}

napi_value call_headers(Arguments& a) {
  Bytes metadata = a.bytes(1);
  return a.of(double(nebula_call_headers(uint64_t(a.number(0)), metadata.data, metadata.size)));
}

napi_value call_cancel(Arguments& a) {
  return a.of(double(nebula_call_cancel(uint64_t(a.number(0)), int32_t(a.number(1)))));
}

napi_value call_consume(Arguments& a) {
  return a.of(double(nebula_call_consume(uint64_t(a.number(0)), uint64_t(a.number(1)))));
}

// callPeer(call): "" once the call is over.
napi_value call_peer(Arguments& a) {
  nebula_call_info info = {};
  info.size = sizeof info;
  return a.of(nebula_call_describe(uint64_t(a.number(0)), &info) < 0 ? "" : info.peer);
}

napi_value strerror_of(Arguments& a) { return a.of(nebula_strerror(int32_t(a.number(0)))); }

template <napi_value (*function)(Arguments&)>
napi_value bound(napi_env env, napi_callback_info info) {
  void* data;
  must(napi_get_instance_data(env, &data));
  Arguments a = {env, *static_cast<Isolate*>(data), {}, {}};
  size_t count = sizeof a.at / sizeof *a.at;
  must(napi_get_cb_info(env, info, &count, a.at, nullptr, nullptr));
  return function(a);
}

// What may give the engine something to do: a poll follows.
template <napi_value (*function)(Arguments&)>
napi_value submits(napi_env env, napi_callback_info info) {
  napi_value value = bound<function>(env, info);
  void* data;
  must(napi_get_instance_data(env, &data));
  submitted(*static_cast<Isolate*>(data));
  return value;
}

// clang-format off
constexpr struct { const char* name; napi_callback function; } functions[] = {
  {"open", bound<open>}, {"hold", bound<hold>}, {"engineMetrics", submits<engine_metrics>},
  {"serverNew", bound<server_new>}, {"serverMethod", bound<server_method>}, {"serverDescribe", bound<server_describe>},
  {"serverSchema", bound<server_schema>},
  {"serverListen", bound<server_listen>}, {"serverStart", submits<server_start>}, {"serverUrls", bound<server_urls>},
  {"serverHealth", submits<server_health>}, {"serverDrain", submits<server_drain>},
  {"channelNew", bound<channel_new>}, {"channelMethod", bound<channel_method>}, {"free", submits<free_now>},
  {"callStart", submits<call_start>}, {"callSend", submits<call_send>}, {"callSendAll", submits<call_send_all>}, {"callFinish", submits<call_finish>},
  {"callHeaders", submits<call_headers>}, {"callCancel", submits<call_cancel>}, {"callConsume", submits<call_consume>},
  {"callPeer", bound<call_peer>}, {"strerror", bound<strerror_of>},
};

constexpr struct { const char* name; int value; } constants[] = {
  {"UNARY", NEBULA_UNARY}, {"CLIENT_STREAM", NEBULA_CLIENT_STREAM}, {"SERVER_STREAM", NEBULA_SERVER_STREAM},
  {"BIDI", NEBULA_BIDI}, {"HOLD", NEBULA_HOLD},
  {"EV_CALL", NEBULA_EV_CALL}, {"EV_HEADERS", NEBULA_EV_HEADERS}, {"EV_MESSAGE", NEBULA_EV_MESSAGE},
  {"EV_END", NEBULA_EV_END}, {"EV_FINISHED", NEBULA_EV_FINISHED}, {"EV_CANCELLED", NEBULA_EV_CANCELLED},
  {"EV_WRITABLE", NEBULA_EV_WRITABLE}, {"EV_DRAINED", NEBULA_EV_DRAINED},
  {"END", NEBULA_END}, {"COMPRESS", NEBULA_COMPRESS}, {"WANT_HEADERS", NEBULA_WANT_HEADERS},
  {"WAIT_FOR_READY", NEBULA_WAIT_FOR_READY}, {"IDEMPOTENT", NEBULA_IDEMPOTENT}, {"JSON", NEBULA_JSON},
  {"PROTO", NEBULA_PROTO}, {"GZIP", NEBULA_GZIP}, {"ZSTD", NEBULA_ZSTD}, {"CHECK", NEBULA_CHECK},
  {"FULL", NEBULA_FULL}, {"E_STALE", NEBULA_E_STALE}, {"E_STATE", NEBULA_E_STATE},
  {"FIELDS", fields},
};
// clang-format on

}  // namespace

NAPI_MODULE_INIT() {
  if (nebula_abi() >> 16 != NEBULA_ABI_MAJOR) {
    napi_throw_error(env, "ERR_NEBULA_ABI", "the nebula library that was found has another ABI than this addon");
    return nullptr;
  }
  must(napi_set_instance_data(env, new Isolate(env), nullptr, nullptr));
  for (const auto& entry : functions) {
    napi_value function;
    must(napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, nullptr, &function));
    must(napi_set_named_property(env, exports, entry.name, function));
  }
  for (const auto& entry : constants) {
    napi_value value;
    must(napi_create_int32(env, entry.value, &value));
    must(napi_set_named_property(env, exports, entry.name, value));
  }
  return exports;
}
