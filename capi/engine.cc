// capi/engine.cc - the library and the engine; how a Status becomes a nebula_error.
#include <algorithm>
#include <cstdlib>

#include "abi/layout.h"
#include "border.h"
#include "io_thread.h"
#include "queue.h"

using namespace nebula;

nebula_engine::nebula_engine(std::unique_ptr<Engine> engine) : engine(std::move(engine)) {}

nebula_engine::~nebula_engine() { io_threads.clear(); }

namespace nebula {

int32_t fail(nebula_error* error, int32_t code, std::string_view message) {
  if (error != nullptr) {
    error->code = code;
    error->system = 0;
    size_t size = std::min(message.size(), sizeof error->message - 1);
    std::memcpy(error->message, message.data(), size);
    error->message[size] = 0;
  }
  return code;
}

int32_t fail(nebula_error* error, const Status& status) {
  switch (status.code()) {
    case Code::invalid_argument:
    case Code::already_exists: return fail(error, NEBULA_E_ADDRESS, status.message());
    case Code::unauthenticated: return fail(error, NEBULA_E_TLS, status.message());
    case Code::failed_precondition: return fail(error, NEBULA_E_STATE, status.message());
    default: return fail(error, NEBULA_E_SYSTEM, status.message());
  }
}

uint64_t microseconds_left(Time deadline, Time now) {
  if (deadline.is_never()) return UINT64_MAX;
  return static_cast<uint64_t>(std::max<int64_t>((deadline - now).us(), 1));
}

}  // namespace nebula

namespace {

constexpr uint32_t io_threads_max = 256;

constexpr std::string_view engine_codes[] = {
    "",
    "NEBULA_E_ARGUMENT: an argument is out of its range",
    "NEBULA_E_STALE: the call is over",
    "NEBULA_E_STATE: not possible in this state",
    "NEBULA_E_CLOSED: it is being freed",
    "NEBULA_E_BUSY: another thread polls this queue",
    "NEBULA_E_NO_MEMORY: out of memory",
    "NEBULA_E_ADDRESS: the address is malformed, taken, or not ours to use",
    "NEBULA_E_TLS: the TLS settings do not work",
    "NEBULA_E_VERSION: options hold fields that this engine does not know",
    "NEBULA_E_SYSTEM: the system refused",
    "NEBULA_E_FORKED: this process was forked from the one that made the engine",
};

std::string_view or_default(const char* text, std::string_view otherwise) {
  return text != nullptr && text[0] != 0 ? std::string_view(text) : otherwise;
}

}  // namespace

extern "C" {

const char* nebula_version(void) { return NEBULA_VERSION; }

uint32_t nebula_abi(void) { return NEBULA_ABI_MAJOR << 16 | NEBULA_ABI_MINOR; }

const char* nebula_strerror(int32_t code) {
  if (code >= 0 && code <= 16) return code_name(static_cast<Code>(code)).data();
  size_t index = static_cast<size_t>(-static_cast<int64_t>(code));
  return code < 0 && index < std::size(engine_codes) ? engine_codes[index].data() : "no such code";
}

nebula_engine* nebula_engine_new(const nebula_engine_options* options, nebula_error* error) {
  nebula_engine_options known;
  if (!read_options(options, &known)) return fail(error, NEBULA_E_VERSION, options_message), nullptr;
  if (known.io_threads > io_threads_max || known.memory_limit != 0)
    return fail(error, NEBULA_E_ARGUMENT, "engine: io_threads and memory_limit must be 0 in this version"), nullptr;
  Config config;
  config.registry = or_default(known.registry, or_default(std::getenv("NEBULA_REGISTRY"), config.registry));
  config.policy = or_default(std::getenv("NEBULA_POLICY"), "");
  config.log = Log::level_of(or_default(std::getenv("NEBULA_LOG"), ""), config.log);
  config.has_housekeeper = or_default(std::getenv("NEBULA_HOUSEKEEPER"), "on") != "off";
  std::string_view admin = or_default(std::getenv("NEBULA_ADMIN"), "local");
  std::optional<Admin::Access> access = Admin::access_of(admin);
  if (!access)
    return fail(error, NEBULA_E_ARGUMENT, "NEBULA_ADMIN is \"" + std::string(admin) + "\": local, open and off are known"),
           nullptr;
  Result<std::unique_ptr<Engine>> made = Engine::make(config);
  if (!made.ok()) return fail(error, made.status()), nullptr;
  nebula_engine* engine = new nebula_engine(std::move(*made));
  engine->io_threads_wanted = known.io_threads;
  engine->admin = *access;
  return engine;
}

void nebula_engine_free(nebula_engine* engine) {
  if (engine == nullptr || engine->is_forked()) return;  // a child has neither the threads nor the locks to end
  delete engine;
}

int32_t nebula_engine_metrics(nebula_engine* engine, nebula_queue* queue, uint64_t tag) {
  if (engine == nullptr || queue == nullptr || queue->engine != engine) return NEBULA_E_ARGUMENT;
  if (engine->is_forked()) return NEBULA_E_FORKED;
  Calls& calls = queue->calls();
  calls.worker().loop().post([&calls, queue, tag] { calls.report(*queue, tag); });
  return NEBULA_OK;
}

}  // extern "C"
