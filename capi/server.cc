// capi/server.cc - nebula_server: methods, listeners, names; its calls become events of a queue.
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "border.h"
#include "queue.h"
#include "rpc/health.h"
#include "rpc/reflection.h"
#include "service/announced_server.h"

using namespace nebula;

namespace {

// A registered method: hands its calls to the server's queue.
class QueueMethod final : public Service {
 public:
  QueueMethod(nebula_queue*& queue, ServedMethod method) : queue_(queue), method_(method) {}

  void call(Request request, Reply reply) override { queue_->serve(method_, std::move(request), std::move(reply)); }

 private:
  nebula_queue*& queue_;
  const ServedMethod method_;
};

struct Listening {
  std::optional<Url> address;  // none: the default one
  std::vector<std::string> names;
};

// Three quarters of the descriptors that this process may have: whoever holds connections for nothing must not keep it
// from opening a file, or from accepting the next one.
size_t connections_max() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return limits::connections_max;
  return std::min<size_t>(limits::connections_max, std::max<size_t>(files.rlim_cur * 3 / 4, 1));
}

std::vector<std::string> split_names(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    size_t comma = text.find(',');
    std::string_view name = text.substr(0, comma);
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (!name.empty()) names.emplace_back(name);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return names;
}

}  // namespace

struct nebula_server {
  nebula_server(nebula_engine* engine, ServerLimits limits, Encoding encoding)
      : engine(engine), limits(limits), encoding(encoding) {}

  Status start();
  Status listen_all(const std::vector<std::string>& services);
  Status announce_all(const std::vector<std::string>& services);

  nebula_engine* const engine;
  const ServerLimits limits;
  const Encoding encoding;
  Router router;
  Health health;
  Descriptors descriptors;
  Reflection reflection{router, descriptors};
  std::deque<QueueMethod> methods;  // a deque: the router points into it
  std::vector<Listening> listenings;
  nebula_queue* queue = nullptr;    // set by start
  std::unique_ptr<AnnouncedServer> running;
  std::string urls;
};

Status nebula_server::start() {
  std::vector<std::string> services = router.services();
  for (const std::string& service : services) health.set(service, Health::State::serving);
  descriptors.add_own();
  // A service of the program's own takes the place of ours.
  for (Method method : {health.check_method(), health.watch_method(), reflection.v1(), reflection.v1alpha()})
    if (Status status = router.add(std::move(method)); !status.ok() && status.code() != Code::already_exists) return status;

  bool is_named = std::any_of(listenings.begin(), listenings.end(),
                              [](const Listening& each) { return !each.address || !each.names.empty(); });
  Registry* registry = nullptr;
  if (is_named) {
    TRY(registry, queue->worker->registry());
  }
  running = std::make_unique<AnnouncedServer>(queue->worker->env(), registry, router, limits);
  if (Status status = listen_all(services); !status.ok()) return status;
  for (const Url& url : running->urls()) urls.append(urls.empty() ? "" : " ").append(url.text());
  return announce_all(services);
}

Status nebula_server::listen_all(const std::vector<std::string>& services) {
  for (const Listening& each : listenings) {
    if (!each.address && each.names.empty() && services.empty())
      return invalid_argument("the server has no method, so there is no name to announce: call nebula_server_method first");
    Status status = each.address ? running->listen(*each.address)
                                 : running->listen_default(each.names.empty() ? services.front() : each.names.front());
    if (!status.ok()) return status;
  }
  return {};
}

Status nebula_server::announce_all(const std::vector<std::string>& services) {
  std::vector<std::string> names;
  for (const Listening& each : listenings) {
    const std::vector<std::string>& more = each.names.empty() && !each.address ? services : each.names;
    names.insert(names.end(), more.begin(), more.end());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());

  // We are the loop's driver at the moment, so the answer comes while we run it.
  std::shared_ptr<std::optional<Status>> answer = std::make_shared<std::optional<Status>>();
  running->announce(names, [answer](Result<bool> result) { *answer = result.status(); });
  UvLoop& loop = queue->worker->loop();
  Time end = monotonic_now() + sec(10);
  while (!*answer && monotonic_now() < end) loop.run_once(ms(100));
  return answer->value_or(unavailable("the registry did not answer within 10 s"));
}

extern "C" {

nebula_server* nebula_server_new(nebula_engine* engine, const nebula_server_options* options, nebula_error* error) {
  nebula_server_options known;
  if (!read_options(options, &known)) return fail(error, NEBULA_E_VERSION, options_message), nullptr;
  if (engine == nullptr) return fail(error, NEBULA_E_ARGUMENT, "server: an engine is needed"), nullptr;
  if (engine->is_forked()) return fail(error, NEBULA_E_FORKED, forked_message), nullptr;
  if (!is_compression(known.compression))
    return fail(error, NEBULA_E_ARGUMENT, "server: compression is NEBULA_GZIP, NEBULA_ZSTD or 0"), nullptr;
  ServerLimits limits;
  if (known.max_message != 0) limits.message_bytes_max = known.max_message;
  if (known.max_streams != 0) limits.session.streams_max = known.max_streams;
  limits.connections_max = known.max_connections != 0 ? known.max_connections : connections_max();
  take_ms(known.keepalive_ms, &limits.session.keepalive.interval);
  take_ms(known.keepalive_timeout_ms, &limits.session.keepalive.timeout);
  limits.session.pings.without_streams = known.min_ping_ms != 0;
  take_ms(known.min_ping_ms, &limits.session.pings.interval_min);
  take_ms(known.max_idle_ms, &limits.idle_max);
  take_ms(known.max_age_ms, &limits.age_max);
  take_ms(known.max_age_grace_ms, &limits.age_grace);
  return new nebula_server(engine, limits, encoding_of_flags(known.compression));
}

int32_t nebula_server_method(nebula_server* server, const char* path, int32_t shape, uint64_t tag) {
  if (server == nullptr || path == nullptr || !is_shape(shape)) return NEBULA_E_ARGUMENT;
  if (server->queue != nullptr) return NEBULA_E_STATE;
  server->methods.emplace_back(server->queue, ServedMethod{tag, (shape & NEBULA_HOLD) != 0, server->encoding});
  Status status = server->router.add(Method{path, false, &server->methods.back(), shape_of(shape)});
  if (!status.ok()) server->methods.pop_back();
  return status.ok() ? NEBULA_OK : NEBULA_E_ARGUMENT;
}

int32_t nebula_server_listen(nebula_server* server, const char* address, const nebula_listen_options* options,
                             nebula_error* error) {
  nebula_listen_options known;
  if (!read_options(options, &known)) return fail(error, NEBULA_E_VERSION, options_message);
  if (server == nullptr) return fail(error, NEBULA_E_ARGUMENT, "listen: a server is needed");
  if (server->queue != nullptr) return fail(error, NEBULA_E_STATE, "listen: the server has started already");
  Listening listening;
  if (known.announce != nullptr) listening.names = split_names(known.announce);
  for (const std::string& name : listening.names)
    if (Status status = check_service_name(name); !status.ok()) return fail(error, status);
  if (address != nullptr) {
    Result<Url> url = Url::parse(address);
    if (!url.ok()) return fail(error, url.status());
    const DriverTable<Transport>& transports = server->engine->engine->drivers().transports;
    if (!transports.knows(url->scheme))
      return fail(error, invalid_argument("listen: unknown scheme in \"" + std::string(address) + "\"; known: " + transports.usages()));
    if (int32_t code = apply_tls(known.tls, TlsSide::server, &*url, error); code < 0) return code;
    listening.address = std::move(*url);
  } else if (known.tls != nullptr) {
    return fail(error, NEBULA_E_ARGUMENT, "listen: TLS needs an address, tls://host:port");
  }
  server->listenings.push_back(std::move(listening));
  return NEBULA_OK;
}

int32_t nebula_server_start(nebula_server* server, nebula_queue** queues, int32_t count, nebula_error* error) {
  if (server == nullptr || queues == nullptr || count != 1 || queues[0] == nullptr)
    return fail(error, NEBULA_E_ARGUMENT, "start: a server and one queue are needed");
  if (server->engine->is_forked()) return fail(error, NEBULA_E_FORKED, forked_message);
  if (queues[0]->engine != server->engine)
    return fail(error, NEBULA_E_ARGUMENT, "start: the queue belongs to another engine");
  if (server->queue != nullptr) return fail(error, NEBULA_E_STATE, "start: the server has started already");
  if (server->listenings.empty())
    return fail(error, NEBULA_E_STATE, "start: nothing to listen at, call nebula_server_listen first");
  KeptLoop::Setup setup(*queues[0]->loop);
  server->queue = queues[0];
  Status status = server->start();
  if (status.ok()) return NEBULA_OK;
  server->running.reset();
  server->urls.clear();
  server->queue = nullptr;
  return fail(error, status);
}

int32_t nebula_server_urls(nebula_server* server, char* out, uint32_t size) {
  if (server == nullptr || (out == nullptr && size != 0)) return NEBULA_E_ARGUMENT;
  if (size > 0) {
    size_t part = std::min<size_t>(size - 1, server->urls.size());
    std::memcpy(out, server->urls.data(), part);
    out[part] = 0;
  }
  return static_cast<int32_t>(server->urls.size());
}

int32_t nebula_server_health(nebula_server* server, const char* service, int32_t status) {
  if (server == nullptr || service == nullptr || (status != 1 && status != 2)) return NEBULA_E_ARGUMENT;
  Health::State state = static_cast<Health::State>(status);
  if (server->engine->is_forked()) return NEBULA_E_FORKED;
  if (server->queue == nullptr) return NEBULA_E_STATE;
  server->queue->worker->loop().post([server, service = std::string(service), state] { server->health.set(service, state); });
  return NEBULA_OK;
}

int32_t nebula_server_describe(nebula_server* server, const void* descriptor_set, uint32_t size) {
  if (server == nullptr || descriptor_set == nullptr) return NEBULA_E_ARGUMENT;
  if (server->queue != nullptr) return NEBULA_E_STATE;
  Status status = server->descriptors.add({static_cast<const char*>(descriptor_set), size});
  return status.ok() ? NEBULA_OK : NEBULA_E_ARGUMENT;
}

int32_t nebula_server_drain(nebula_server* server, int32_t timeout_ms, uint64_t tag) {
  if (server == nullptr) return NEBULA_E_ARGUMENT;
  if (server->engine->is_forked()) return NEBULA_E_FORKED;
  if (server->queue == nullptr) return NEBULA_E_STATE;
  Duration wait = timeout_ms < 0 ? limits::drain_timeout : ms(timeout_ms);
  server->queue->worker->loop().post([server, wait, tag] {
    server->health.shut_down();
    server->running->drain(wait, [queue = server->queue, tag] {
      nebula_event event{};
      event.kind = NEBULA_EV_DRAINED;
      event.tag = tag;
      queue->push(QueuedEvent{event, {}, false, {}, false});
    });
  });
  return NEBULA_OK;
}

void nebula_server_free(nebula_server* server) {
  if (server == nullptr || server->engine->is_forked()) return;
  if (server->queue != nullptr) {
    // What was posted for this server runs first: it refers to it.
    KeptLoop::Setup setup(*server->queue->loop);
    server->queue->worker->loop().run_once(ms(0));
    server->running.reset();
  }
  delete server;
}

}  // extern "C"
