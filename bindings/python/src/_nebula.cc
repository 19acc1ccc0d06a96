// _nebula.cc - the C ABI as a Python module: handles as classes, the calls of the hot path as plain functions.
//
// Thin on purpose: what an event means is decided in nebula/engine.py. The hot functions are METH_FASTCALL, which costs
// a third of a pybind11 call. All of it runs with the GIL held, except a poll that may block and the start of a server.
#include <Python.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "abi/layout.h"
#include "nebula.h"

namespace py = pybind11;

namespace {

struct Queue;

// nebula.EngineError. Never released: it must be there for as long as something can fail.
PyObject* engine_error = nullptr;

// The engine cuts long texts at a byte, which may be in the middle of a letter.
py::str text_of(std::string_view bytes) {
  PyObject* text = PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace");
  if (!text) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

py::object make_error(int32_t code, int32_t system, const py::str& text) {
  if (code == NEBULA_E_ARGUMENT) return py::handle(PyExc_ValueError)(text);
  if (code == NEBULA_E_NO_MEMORY) return py::handle(PyExc_MemoryError)(text);
  // OSError chooses its subclass by the number: PermissionError and the like.
  if (system != 0) return py::handle(PyExc_OSError)(system, text);
  if (code == NEBULA_E_SYSTEM) return py::handle(PyExc_OSError)(text);
  py::object error = py::handle(engine_error)(text);
  error.attr("code") = code;
  return error;
}

[[noreturn]] void raise(int32_t code, int32_t system, std::string_view text) {
  py::object error = make_error(code, system, text_of(text));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw py::error_already_set();
}

[[noreturn]] void raise(const nebula_error& error) {
  raise(error.code, error.system, error.message[0] ? error.message : nebula_strerror(error.code));
}

int32_t check(int32_t code) {
  if (code < 0) raise(code, 0, nebula_strerror(code));
  return code;
}

// A handle and, by capture, what must outlive it. In a forked child nothing is freed: the loops, the sockets and the
// records still belong to the parent.
template <class T>
std::shared_ptr<T> own(T* raw, void (*release)(T*), std::shared_ptr<void> below) {
  return {raw, [release, below = std::move(below), maker = getpid()](T* handle) {
            if (getpid() == maker) release(handle);
          }};
}

using TlsTexts = std::optional<std::array<std::optional<std::string>, 4>>;

const char* text_or_null(const std::optional<std::string>& text) { return text ? text->c_str() : nullptr; }

// nebula_tls, which points into `texts`.
nebula_tls tls_of(const TlsTexts& texts) {
  nebula_tls tls{};
  tls.size = sizeof tls;
  if (!texts) return tls;
  tls.certificate = text_or_null((*texts)[0]);
  tls.key = text_or_null((*texts)[1]);
  tls.authorities = text_or_null((*texts)[2]);
  tls.server_name = text_or_null((*texts)[3]);
  return tls;
}

struct Engine {
  std::shared_ptr<nebula_engine> handle;

  explicit Engine(const std::optional<std::string>& registry) {
    nebula_engine_options options{};
    options.size = sizeof options;
    options.registry = text_or_null(registry);
    nebula_error error{};
    nebula_engine* raw = nebula_engine_new(&options, &error);
    if (!raw) raise(error);
    handle = own(raw, nebula_engine_free, nullptr);
  }

  const std::shared_ptr<nebula_engine>& get() const {
    if (!handle) raise(NEBULA_E_CLOSED, 0, "the engine is closed");
    return handle;
  }

  void metrics(const Queue& queue, uint64_t tag) const;  // a METRICS event of the queue follows

  void close() { handle.reset(); }
};

struct Queue {
  std::shared_ptr<nebula_queue> handle;

  Queue(const Engine& engine, uint32_t mode) {
    nebula_queue_options options{};
    options.size = sizeof options;
    options.mode = mode;
    nebula_error error{};
    nebula_queue* raw = nebula_queue_new(engine.get().get(), &options, &error);
    if (!raw) raise(error);
    handle = own(raw, nebula_queue_free, engine.handle);
  }

  const std::shared_ptr<nebula_queue>& get() const {
    if (!handle) raise(NEBULA_E_CLOSED, 0, "the queue is closed");
    return handle;
  }

  int32_t fd() const { return check(nebula_queue_fd(get().get())); }

  void wake(uint64_t tag) { check(nebula_wake(get().get(), tag)); }

  // A thread that is in poll keeps the handle until it is back; a server, until it is closed.
  void close() {
    if (handle && handle.use_count() > 1) nebula_wake(handle.get(), 0);
    handle.reset();
  }
};

void Engine::metrics(const Queue& queue, uint64_t tag) const {
  check(nebula_engine_metrics(get().get(), queue.get().get(), tag));
}

struct Server {
  std::shared_ptr<nebula_queue> queue;  // before the handle, so that it is released after it
  std::shared_ptr<nebula_server> handle;

  Server(const Engine& engine, uint32_t max_message, uint32_t max_streams, uint32_t max_connections,
         uint32_t keepalive_ms, uint32_t keepalive_timeout_ms, uint32_t min_ping_ms, uint32_t max_idle_ms,
         uint32_t max_age_ms, uint32_t max_age_grace_ms, uint32_t compression) {
    nebula_server_options options{};
    options.size = sizeof options;
    options.max_message = max_message;
    options.max_streams = max_streams;
    options.max_connections = max_connections;
    options.keepalive_ms = keepalive_ms;
    options.keepalive_timeout_ms = keepalive_timeout_ms;
    options.min_ping_ms = min_ping_ms;
    options.max_idle_ms = max_idle_ms;
    options.max_age_ms = max_age_ms;
    options.max_age_grace_ms = max_age_grace_ms;
    options.compression = compression;
    nebula_error error{};
    nebula_server* raw = nebula_server_new(engine.get().get(), &options, &error);
    if (!raw) raise(error);
    handle = own(raw, nebula_server_free, engine.handle);
  }

  nebula_server* get() const {
    if (!handle) raise(NEBULA_E_CLOSED, 0, "the server is closed");
    return handle.get();
  }

  void method(const std::string& path, int32_t shape, uint64_t tag) {
    check(nebula_server_method(get(), path.c_str(), shape, tag));
  }

  void listen(const std::optional<std::string>& address, const std::optional<std::string>& announce,
              const TlsTexts& texts) {
    nebula_tls tls = tls_of(texts);
    nebula_listen_options options{};
    options.size = sizeof options;
    options.announce = text_or_null(announce);
    options.tls = texts ? &tls : nullptr;
    nebula_error error{};
    if (nebula_server_listen(get(), text_or_null(address), &options, &error) < 0) raise(error);
  }

  void start(const Queue& on) {
    nebula_queue* queues[] = {on.get().get()};
    nebula_server* server = get();
    nebula_error error{};
    int32_t code;
    {
      py::gil_scoped_release release;  // it waits for the registry
      code = nebula_server_start(server, queues, 1, &error);
    }
    if (code < 0) raise(error);
    queue = on.handle;
  }

  py::str urls() const {
    char out[4096];
    check(nebula_server_urls(get(), out, sizeof out));
    return text_of(out);
  }

  void describe(const py::bytes& descriptor_set) {
    std::string_view set = descriptor_set;
    check(nebula_server_describe(get(), set.data(), static_cast<uint32_t>(set.size())));
  }

  void schema(const std::string& service, const py::bytes& document) {
    std::string_view text = document;
    check(nebula_server_schema(get(), service.c_str(), text.data(), static_cast<uint32_t>(text.size())));
  }

  void health(const std::string& service, int32_t status) {
    check(nebula_server_health(get(), service.c_str(), status));
  }

  void drain(int32_t timeout_ms, uint64_t tag) { check(nebula_server_drain(get(), timeout_ms, tag)); }

  void close() {
    handle.reset();
    queue.reset();
  }
};

struct Channel {
  std::shared_ptr<nebula_channel> handle;

  Channel(const Engine& engine, const std::string& target, uint32_t max_message, const TlsTexts& texts,
          uint32_t keepalive_ms, uint32_t keepalive_timeout_ms, uint32_t keepalive_always, uint32_t max_idle_ms,
          const std::optional<std::string>& policy) {
    nebula_tls tls = tls_of(texts);
    nebula_channel_options options{};
    options.size = sizeof options;
    options.max_message = max_message;
    options.keepalive_ms = keepalive_ms;
    options.keepalive_timeout_ms = keepalive_timeout_ms;
    options.keepalive_always = keepalive_always;
    options.max_idle_ms = max_idle_ms;
    options.tls = texts ? &tls : nullptr;
    options.policy = policy ? policy->c_str() : nullptr;
    nebula_error error{};
    nebula_channel* raw = nebula_channel_new(engine.get().get(), target.c_str(), &options, &error);
    if (!raw) raise(error);
    handle = own(raw, nebula_channel_free, engine.handle);
  }

  uint64_t method(const std::string& path, int32_t shape) {
    if (!handle) raise(NEBULA_E_CLOSED, 0, "the channel is closed");
    uint64_t method = nebula_channel_method(handle.get(), path.c_str(), shape);
    if (method == 0) raise(NEBULA_E_ARGUMENT, 0, "\"" + path + "\" is not a path of the form /service/method");
    return method;
  }

  void close() { handle.reset(); }
};

// ---- the hot functions: arguments are positional, and the package is their only caller ------------------------------

void expect(Py_ssize_t count, Py_ssize_t wanted) {
  if (count == wanted) return;
  PyErr_Format(PyExc_TypeError, "%zd arguments, not %zd", wanted, count);
  throw py::error_already_set();
}

uint64_t number(PyObject* from) {
  uint64_t value = PyLong_AsUnsignedLongLong(from);
  if (value == UINT64_MAX && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

int32_t small_number(PyObject* from) {
  long value = PyLong_AsLong(from);
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (value < INT32_MIN || value > INT32_MAX) {
    PyErr_SetString(PyExc_OverflowError, "number out of range");
    throw py::error_already_set();
  }
  return static_cast<int32_t>(value);
}

// None is no message (NULL); b"" is an empty one, and its pointer is not NULL.
struct Bytes {
  const char* data = nullptr;
  uint32_t size = 0;

  explicit Bytes(PyObject* from) {
    if (from == Py_None) return;
    char* start;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(from, &start, &length) < 0) throw py::error_already_set();
    if (length > static_cast<Py_ssize_t>(UINT32_MAX)) {
      PyErr_SetString(PyExc_OverflowError, "a message has less than 4 GiB");
      throw py::error_already_set();
    }
    data = start;
    size = static_cast<uint32_t>(length);
  }
};

PyObject* bytes_of(const uint8_t* data, uint32_t size) {
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(data), size);
}

PyObject* none() {
  Py_INCREF(Py_None);
  return Py_None;
}

PyObject* tuple_of(const nebula_event& event) {
  PyObject* tuple = PyTuple_New(8);
  if (!tuple) return nullptr;
  PyTuple_SET_ITEM(tuple, 0, PyLong_FromLong(event.kind));
  PyTuple_SET_ITEM(tuple, 1, PyLong_FromUnsignedLongLong(event.call));
  PyTuple_SET_ITEM(tuple, 2, PyLong_FromUnsignedLongLong(event.tag));
  PyTuple_SET_ITEM(tuple, 3, PyLong_FromLong(event.flags));
  PyTuple_SET_ITEM(tuple, 4, PyLong_FromLong(event.status));
  PyTuple_SET_ITEM(tuple, 5, event.data ? bytes_of(event.data, event.size) : none());
  PyTuple_SET_ITEM(tuple, 6, bytes_of(event.metadata, event.metadata ? event.metadata_size : 0));
  PyTuple_SET_ITEM(tuple, 7, PyLong_FromUnsignedLongLong(event.value));
  for (Py_ssize_t i = 0; i < 8; i++)
    if (!PyTuple_GET_ITEM(tuple, i)) {
      Py_DECREF(tuple);
      return nullptr;
    }
  return tuple;
}

// Once the interpreter has ended, taking the GIL back ends a daemon thread by unwinding its stack. That must not meet a
// destructor, so pybind11's guard does not do, and what the thread holds is left to the end of the process.
int32_t poll_without_gil(std::shared_ptr<nebula_queue>& queue, int32_t timeout_ms) {
  auto* held = new std::shared_ptr<nebula_queue>(std::move(queue));  // another thread may close the queue meanwhile
  PyThreadState* state = PyEval_SaveThread();
  int32_t ready = nebula_poll(held->get(), timeout_ms);
  PyEval_RestoreThread(state);
  queue = std::move(*held);
  delete held;
  return ready;
}

// While it lives no finalizer runs here: one that polls, too, would overwrite the events that are being read.
class NoCollector {
 public:
#if PY_VERSION_HEX >= 0x030A0000
  NoCollector() : was_on_(PyGC_Disable()) {}
  ~NoCollector() {
    if (was_on_) PyGC_Enable();
  }
  NoCollector(const NoCollector&) = delete;

 private:
  const int was_on_;
#else
  NoCollector() {}
#endif
};

// Into a list that is empty, the first event last. Returning them would lose them where a signal handler raises.
PyObject* poll(PyObject* const* args, Py_ssize_t count) {
  expect(count, 3);
  std::shared_ptr<nebula_queue> queue = py::handle(args[0]).cast<const Queue&>().get();
  int32_t timeout_ms = small_number(args[1]);
  if (!PyList_CheckExact(args[2]) || PyList_GET_SIZE(args[2]) != 0) {
    PyErr_SetString(PyExc_TypeError, "the third argument is an empty list");
    return nullptr;
  }
  int32_t ready = check(timeout_ms == 0 ? nebula_poll(queue.get(), 0) : poll_without_gil(queue, timeout_ms));
  const nebula_event* events = nebula_queue_events(queue.get());
  NoCollector no_collector;
  while (ready-- > 0) {
    PyObject* tuple = tuple_of(events[ready]);
    if (!tuple) return nullptr;
    int failed = PyList_Append(args[2], tuple);
    Py_DECREF(tuple);
    if (failed) return nullptr;
  }
  return none();
}

PyObject* call_start(PyObject* const* args, Py_ssize_t count) {
  expect(count, 8);
  nebula_queue* queue = py::handle(args[0]).cast<const Queue&>().get().get();
  Bytes metadata(args[4]), data(args[5]);
  return PyLong_FromUnsignedLongLong(nebula_call_start_under(
      queue, number(args[1]), number(args[2]), number(args[3]), metadata.data, metadata.size, data.data, data.size,
      static_cast<uint32_t>(number(args[6])), number(args[7])));
}

PyObject* call_headers(PyObject* const* args, Py_ssize_t count) {
  expect(count, 2);
  Bytes metadata(args[1]);
  return PyLong_FromLong(nebula_call_headers(number(args[0]), metadata.data, metadata.size));
}

PyObject* call_send(PyObject* const* args, Py_ssize_t count) {
  expect(count, 3);
  Bytes data(args[1]);
  return PyLong_FromLong(
      nebula_call_send(number(args[0]), data.data, data.size, static_cast<uint32_t>(number(args[2]))));
}

// The message is bytes, since text that is no UTF-8 must be dealt with above.
PyObject* call_finish(PyObject* const* args, Py_ssize_t count) {
  expect(count, 4);
  Bytes message(args[2]), metadata(args[3]);
  return PyLong_FromLong(nebula_call_finish(number(args[0]), small_number(args[1]), message.data, metadata.data,
                                            metadata.size));
}

PyObject* call_cancel(PyObject* const* args, Py_ssize_t count) {
  expect(count, 2);
  return PyLong_FromLong(nebula_call_cancel(number(args[0]), small_number(args[1])));
}

PyObject* call_consume(PyObject* const* args, Py_ssize_t count) {
  expect(count, 2);
  return PyLong_FromLong(nebula_call_consume(number(args[0]), number(args[1])));
}

template <PyObject* (*function)(PyObject* const*, Py_ssize_t)>
PyObject* guarded(PyObject*, PyObject* const* args, Py_ssize_t count) {
  try {
    return function(args, count);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::cast_error&) {
    PyErr_SetString(PyExc_TypeError, "the first argument is a Queue");
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

template <PyObject* (*function)(PyObject* const*, Py_ssize_t)>
PyMethodDef fast(const char* name) {
  auto* any = reinterpret_cast<void (*)()>(&guarded<function>);  // by way of this the compiler allows the next cast
  return {name, reinterpret_cast<PyCFunction>(any), METH_FASTCALL, nullptr};
}

PyMethodDef hot[] = {fast<poll>("poll"),
                     fast<call_start>("call_start"),
                     fast<call_headers>("call_headers"),
                     fast<call_send>("call_send"),
                     fast<call_finish>("call_finish"),
                     fast<call_cancel>("call_cancel"),
                     fast<call_consume>("call_consume"),
                     {nullptr, nullptr, 0, nullptr}};

// (path, peer) of a call, or nothing if it is over.
std::optional<std::pair<py::str, py::str>> call_describe(uint64_t call) {
  nebula_call_info info{};
  info.size = sizeof info;
  if (nebula_call_describe(call, &info) < 0) return std::nullopt;
  return std::pair(text_of(info.method), text_of(info.peer));
}

void add_constants(py::module_& module) {
#define CONSTANT(name) module.attr(#name) = static_cast<int64_t>(NEBULA_##name)
  CONSTANT(ABI_MAJOR), CONSTANT(ABI_MINOR);
  CONSTANT(OK), CONSTANT(CANCELLED), CONSTANT(UNKNOWN), CONSTANT(INVALID_ARGUMENT), CONSTANT(DEADLINE_EXCEEDED),
      CONSTANT(NOT_FOUND), CONSTANT(ALREADY_EXISTS), CONSTANT(PERMISSION_DENIED), CONSTANT(RESOURCE_EXHAUSTED),
      CONSTANT(FAILED_PRECONDITION), CONSTANT(ABORTED), CONSTANT(OUT_OF_RANGE), CONSTANT(UNIMPLEMENTED),
      CONSTANT(INTERNAL), CONSTANT(UNAVAILABLE), CONSTANT(DATA_LOSS), CONSTANT(UNAUTHENTICATED), CONSTANT(FULL);
  CONSTANT(E_ARGUMENT), CONSTANT(E_STALE), CONSTANT(E_STATE), CONSTANT(E_CLOSED), CONSTANT(E_BUSY),
      CONSTANT(E_NO_MEMORY), CONSTANT(E_ADDRESS), CONSTANT(E_TLS), CONSTANT(E_VERSION), CONSTANT(E_SYSTEM),
      CONSTANT(E_FORKED);
  CONSTANT(UNARY), CONSTANT(CLIENT_STREAM), CONSTANT(SERVER_STREAM), CONSTANT(BIDI), CONSTANT(HOLD),
      CONSTANT(RUNS);
  CONSTANT(FATE_UNSENT), CONSTANT(FATE_UNPROCESSED), CONSTANT(FATE_UNKNOWN), CONSTANT(FATE_PROCESSED);
  CONSTANT(FAULT_NONE), CONSTANT(FAULT_CALLER), CONSTANT(FAULT_NETWORK), CONSTANT(FAULT_CALLEE),
      CONSTANT(FAULT_OVERLOAD);
  CONSTANT(EV_CALL), CONSTANT(EV_HEADERS), CONSTANT(EV_MESSAGE), CONSTANT(EV_END), CONSTANT(EV_FINISHED),
      CONSTANT(EV_CANCELLED), CONSTANT(EV_WRITABLE), CONSTANT(EV_DRAINED), CONSTANT(EV_WAKE), CONSTANT(EV_METRICS);
  CONSTANT(END), CONSTANT(COMPRESS), CONSTANT(WANT_HEADERS), CONSTANT(WAIT_FOR_READY), CONSTANT(IDEMPOTENT),
      CONSTANT(JSON), CONSTANT(PROTO), CONSTANT(GZIP), CONSTANT(ZSTD), CONSTANT(CHECK), CONSTANT(RUN);
  CONSTANT(QUEUE_INLINE), CONSTANT(QUEUE_THREADED), CONSTANT(SPREAD_CALL), CONSTANT(SPREAD_CONNECTION);
#undef CONSTANT
}

}  // namespace

PYBIND11_MODULE(_nebula, module) {
  module.doc() = "The engine behind its C ABI. Use the nebula package instead.";
  engine_error = PyErr_NewExceptionWithDoc(
      "nebula.EngineError", "The engine refused: .code is one of its negative codes (-4: closed, -11: forked, ...).",
      PyExc_RuntimeError, nullptr);
  if (!engine_error) throw py::error_already_set();
  module.add_object("EngineError", engine_error);

  py::class_<Engine>(module, "Engine")
      .def(py::init<const std::optional<std::string>&>(), py::arg("registry") = py::none())
      .def("metrics", &Engine::metrics)
      .def("close", &Engine::close);
  py::class_<Queue>(module, "Queue")
      .def(py::init<const Engine&, uint32_t>(), py::arg("engine"), py::arg("mode") = int{NEBULA_QUEUE_INLINE})
      .def("fd", &Queue::fd)
      .def("wake", &Queue::wake)
      .def("close", &Queue::close);
  py::class_<Server>(module, "Server")
      .def(py::init<const Engine&, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t,
                    uint32_t, uint32_t>(),
           py::arg("engine"), py::arg("max_message") = 0, py::kw_only(), py::arg("max_streams") = 0,
           py::arg("max_connections") = 0, py::arg("keepalive_ms") = 0, py::arg("keepalive_timeout_ms") = 0,
           py::arg("min_ping_ms") = 0, py::arg("max_idle_ms") = 0, py::arg("max_age_ms") = 0,
           py::arg("max_age_grace_ms") = 0, py::arg("compression") = 0)
      .def("method", &Server::method)
      .def("listen", &Server::listen, py::arg("address"), py::arg("announce"), py::arg("tls") = py::none())
      .def("start", &Server::start)
      .def("urls", &Server::urls)
      .def("describe", &Server::describe)
      .def("schema", &Server::schema)
      .def("health", &Server::health)
      .def("drain", &Server::drain)
      .def("close", &Server::close);
  py::class_<Channel>(module, "Channel")
      .def(py::init<const Engine&, const std::string&, uint32_t, const TlsTexts&, uint32_t, uint32_t, uint32_t,
                    uint32_t, const std::optional<std::string>&>(),
           py::arg("engine"), py::arg("target"), py::arg("max_message") = 0, py::arg("tls") = py::none(), py::kw_only(),
           py::arg("keepalive_ms") = 0, py::arg("keepalive_timeout_ms") = 0, py::arg("keepalive_always") = 0,
           py::arg("max_idle_ms") = 0, py::arg("policy") = py::none())
      .def("method", &Channel::method)
      .def("close", &Channel::close);

  if (PyModule_AddFunctions(module.ptr(), hot) < 0) throw py::error_already_set();
  module.def("call_describe", &call_describe);
  module.def("version", &nebula_version);
  module.def("abi", &nebula_abi);
  module.def("strerror", &nebula_strerror);
  add_constants(module);
}
