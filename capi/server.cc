// capi/server.cc - nebula_server: methods, listeners, names; its calls become events of a queue.
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "border.h"
#include "io_thread.h"
#include "queue.h"
#include "rpc/description.h"
#include "rpc/health.h"
#include "rpc/reflection.h"
#include "service/admin.h"
#include "service/announced_server.h"

using namespace nebula;

namespace {

struct Registered {
  std::string path;
  Shape shape;
  ServedMethod served;
};

// Which queue gets the calls that come to one loop.
struct Spread {
  nebula_queue& queue_of(const Peer& peer) {
    return by_connection ? *queues[peer.connection % queues.size()] : fewest();
  }

  // Of equal ones, each in its turn.
  nebula_queue& fewest() {
    std::rotate(queues.begin(), queues.begin() + 1, queues.end());
    return **std::min_element(queues.begin(), queues.end(), [](const nebula_queue* a, const nebula_queue* b) {
      return a->served_calls < b->served_calls;
    });
  }

  Calls& calls;
  std::vector<nebula_queue*> queues;  // the loop's own, or all threaded ones
  bool by_connection;
};

// A registered method on one loop: hands its calls to a queue.
class QueueMethod final : public Service {
 public:
  QueueMethod(Spread& spread, ServedMethod method) : spread_(spread), method_(method) {}

  void call(Request request, Reply reply) override {
    nebula_queue& queue = spread_.queue_of(request.context->peer());
    spread_.calls.serve(queue, method_, std::move(request), std::move(reply));
  }

 private:
  Spread& spread_;
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

// What a server has on one loop: that of an inline queue, or an I/O thread's. Each has listeners of its own, at the same addresses, and keeps
// the connections that come to them; nothing is shared. Touched by who drives that loop.
struct Branch {
  Branch(Spread spread, const Descriptors& descriptors, const Descriptions& descriptions, Admin::Access access)
      : spread(std::move(spread)),
        reflection(router, descriptors),
        description(descriptions),
        admin([this](Surveys::Then then) { this->spread.calls.surveys().ask(std::move(then)); }, access) {}

  Status route(const std::vector<Registered>& registered, const std::vector<std::string>& services);

  Loop& loop() { return spread.calls.worker().loop(); }

  Spread spread;
  Router router;
  Health health;
  Reflection reflection;
  Description description;
  Admin admin;
  std::deque<QueueMethod> methods;  // a deque: the router points into it
  std::unique_ptr<AnnouncedServer> running;
};

Status Branch::route(const std::vector<Registered>& registered, const std::vector<std::string>& services) {
  for (const Registered& each : registered) {
    Service* method = &methods.emplace_back(spread, each.served);
    if (Status status = router.add({each.path, false, method, each.shape}); !status.ok()) return status;
  }
  for (const std::string& service : services) health.set(service, Health::State::serving);
  // A service of the program's own takes the place of ours.
  for (Method method : {health.check_method(), health.watch_method(), reflection.v1(), reflection.v1alpha(),
                        description.get_method(), admin.metrics_method(), admin.channels_method()}) {
    if (method.service == &admin && admin.is_off()) continue;
    Status status = router.add(std::move(method));
    if (!status.ok() && status.code() != Code::already_exists) return status;
  }
  return {};
}

}  // namespace

struct nebula_server {
  nebula_server(nebula_engine* engine, ServerLimits limits, Encoding encoding, bool by_connection)
      : engine(engine), limits(limits), encoding(encoding), by_connection(by_connection) {}

  bool has_started() const { return !branches.empty(); }
  Status start(std::vector<Spread> spreads);
  void stop();
  Status listen_all(AnnouncedServer& running, const std::vector<std::string>& services);
  Status announce_all(Branch& first, const std::vector<std::string>& services);

  nebula_engine* const engine;
  const ServerLimits limits;
  const Encoding encoding;
  const bool by_connection;  // NEBULA_SPREAD_CONNECTION
  Router known;  // paths that are taken, and their services
  std::vector<Registered> methods;
  Descriptors descriptors;
  Descriptions descriptions;
  std::vector<Listening> listenings;
  std::vector<std::unique_ptr<Branch>> branches;  // one for each queue; the first is the one that is announced
  nebula_queue* first = nullptr;  // of those that it was started with: is told of its drain
  std::string urls;
};

Status nebula_server::start(std::vector<Spread> spreads) {
  bool is_named = std::any_of(listenings.begin(), listenings.end(),
                              [](const Listening& each) { return !each.address || !each.names.empty(); });
  std::vector<std::string> services = known.services();
  descriptors.add_own();
  ServerLimits share = limits;
  share.connections_max = (limits.connections_max + spreads.size() - 1) / spreads.size();
  std::vector<Url> shared;
  for (Spread& each : spreads) branches.push_back(std::make_unique<Branch>(std::move(each), descriptors, descriptions, engine->admin));
  Status status;
  for (const std::unique_ptr<Branch>& branch : branches) {
    if (!status.ok()) break;
    branch->spread.calls.place().perform([&] {
      status = branch->route(methods, services);
      if (!status.ok()) return;
      Worker& worker = branch->spread.calls.worker();
      bool is_first = branch == branches.front();
      Result<Registry*> registry = is_first && is_named ? worker.registry() : Result<Registry*>(nullptr);
      if (!(status = registry.status()).ok()) return;
      branch->running = std::make_unique<AnnouncedServer>(worker.env(), *registry, branch->router, share);
      branch->running->describe(descriptions);
      if (is_first) {
        status = listen_all(*branch->running, services);
        if (status.ok() && branches.size() > 1) shared = branch->running->share();
        for (const Url& url : branch->running->urls()) urls.append(urls.empty() ? "" : " ").append(url.text());
      } else {
        for (const Url& url : shared)
          if (status.ok()) status = branch->running->listen(url);
      }
    });
  }
  return status.ok() ? announce_all(*branches.front(), services) : status;
}

void nebula_server::stop() {
  // After what was posted for this server, which refers to it. Its last events are in their queues when this returns:
  // whoever frees what their tags mean puts that behind them.
  for (std::unique_ptr<Branch>& branch : branches) {
    branch->spread.calls.place().perform([&branch] {
      branch->running.reset();
      branch->spread.calls.hand_over();
    });
  }
  branches.clear();
  urls.clear();
}

Status nebula_server::listen_all(AnnouncedServer& running, const std::vector<std::string>& services) {
  for (const Listening& each : listenings) {
    if (!each.address && each.names.empty() && services.empty())
      return invalid_argument("the server has no method, so there is no name to announce: call nebula_server_method first");
    Status status = each.address ? running.listen(*each.address)
                                 : running.listen_default(each.names.empty() ? services.front() : each.names.front());
    if (!status.ok()) return status;
  }
  return {};
}

Status nebula_server::announce_all(Branch& first, const std::vector<std::string>& services) {
  std::vector<std::string> names;
  for (const Listening& each : listenings) {
    const std::vector<std::string>& more = each.names.empty() && !each.address ? services : each.names;
    names.insert(names.end(), more.begin(), more.end());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());

  std::shared_ptr<Status> answer = std::make_shared<Status>();
  bool has_answered = first.spread.calls.place().perform_until(
      [&first, &names, answer](Fn<void()> tell) {
        first.running->announce(names, [answer, tell = std::move(tell)](Result<bool> result) mutable {
          *answer = result.status();
          tell();
        });
      },
      sec(10));
  return has_answered ? *answer : unavailable("the registry did not answer within 10 s");
}

extern "C" {

nebula_server* nebula_server_new(nebula_engine* engine, const nebula_server_options* options, nebula_error* error) {
  nebula_server_options known;
  if (!read_options(options, &known)) return fail(error, NEBULA_E_VERSION, options_message), nullptr;
  if (engine == nullptr) return fail(error, NEBULA_E_ARGUMENT, "server: an engine is needed"), nullptr;
  if (engine->is_forked()) return fail(error, NEBULA_E_FORKED, forked_message), nullptr;
  if (!is_compression(known.compression))
    return fail(error, NEBULA_E_ARGUMENT, "server: compression is NEBULA_GZIP, NEBULA_ZSTD or 0"), nullptr;
  if (known.spread != NEBULA_SPREAD_CALL && known.spread != NEBULA_SPREAD_CONNECTION)
    return fail(error, NEBULA_E_ARGUMENT, "server: spread is NEBULA_SPREAD_CALL or NEBULA_SPREAD_CONNECTION"), nullptr;
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
  bool by_connection = known.spread == NEBULA_SPREAD_CONNECTION;
  return new nebula_server(engine, limits, encoding_of_flags(known.compression), by_connection);
}

int32_t nebula_server_method(nebula_server* server, const char* path, int32_t shape, uint64_t tag) {
  if (server == nullptr || path == nullptr || !is_shape(shape)) return NEBULA_E_ARGUMENT;
  if (server->has_started()) return NEBULA_E_STATE;
  if (!server->known.add(Method{path, false, nullptr, shape_of(shape)}).ok()) return NEBULA_E_ARGUMENT;
  server->methods.push_back({path, shape_of(shape), {tag, Reading(shape), server->encoding}});
  return NEBULA_OK;
}

int32_t nebula_server_listen(nebula_server* server, const char* address, const nebula_listen_options* options,
                             nebula_error* error) {
  nebula_listen_options known;
  if (!read_options(options, &known)) return fail(error, NEBULA_E_VERSION, options_message);
  if (server == nullptr) return fail(error, NEBULA_E_ARGUMENT, "listen: a server is needed");
  if (server->has_started()) return fail(error, NEBULA_E_STATE, "listen: the server has started already");
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
  if (server == nullptr || queues == nullptr || count < 1)
    return fail(error, NEBULA_E_ARGUMENT, "start: a server and at least one queue are needed");
  if (server->engine->is_forked()) return fail(error, NEBULA_E_FORKED, forked_message);
  for (int32_t i = 0; i < count; i++) {
    if (queues[i] == nullptr || queues[i]->engine != server->engine)
      return fail(error, NEBULA_E_ARGUMENT, "start: a queue is NULL or belongs to another engine");
    if (std::find(queues, queues + i, queues[i]) != queues + i)
      return fail(error, NEBULA_E_ARGUMENT, "start: the same queue is given twice");
  }
  if (server->has_started()) return fail(error, NEBULA_E_STATE, "start: the server has started already");
  if (server->listenings.empty())
    return fail(error, NEBULA_E_STATE, "start: nothing to listen at, call nebula_server_listen first");
  if (Status status = server->descriptions.complete(server->known, server->descriptors); !status.ok())
    return fail(error, NEBULA_E_ARGUMENT, "start: " + std::string(status.message()));
  std::vector<Spread> spreads;
  bool is_inline = queues[0]->is_inline();
  for (int32_t i = 0; i < count; i++) {
    if (queues[i]->is_inline() != is_inline)
      return fail(error, NEBULA_E_ARGUMENT, "start: the queues must be all inline or all threaded");
    if (is_inline) spreads.push_back({queues[i]->calls(), {queues[i]}, server->by_connection});
  }
  if (!is_inline) {
    std::vector<nebula_queue*> all(queues, queues + count);
    for (Calls* calls : io_calls(*server->engine)) {
      spreads.push_back({*calls, all, server->by_connection});
      std::rotate(all.begin(), all.begin() + 1, all.end());  // each thread's first connection to another queue
    }
  }
  server->first = queues[0];
  Status status = server->start(std::move(spreads));
  if (status.ok()) return NEBULA_OK;
  server->stop();
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
  if (!server->has_started()) return NEBULA_E_STATE;
  for (const std::unique_ptr<Branch>& branch : server->branches)
    branch->loop().post([branch = branch.get(), service = std::string(service), state] {
      branch->health.set(service, state);
      branch->running->set_health(service, state == Health::State::serving);
    });
  return NEBULA_OK;
}

int32_t nebula_server_describe(nebula_server* server, const void* descriptor_set, uint32_t size) {
  if (server == nullptr || descriptor_set == nullptr) return NEBULA_E_ARGUMENT;
  if (server->has_started()) return NEBULA_E_STATE;
  Status status = server->descriptors.add({static_cast<const char*>(descriptor_set), size});
  return status.ok() ? NEBULA_OK : NEBULA_E_ARGUMENT;
}

int32_t nebula_server_schema(nebula_server* server, const char* service, const void* json, uint32_t size) {
  if (server == nullptr || service == nullptr || json == nullptr) return NEBULA_E_ARGUMENT;
  if (server->has_started()) return NEBULA_E_STATE;
  Status status = server->descriptions.add(service, {static_cast<const char*>(json), size});
  return status.ok() ? NEBULA_OK : NEBULA_E_ARGUMENT;
}

int32_t nebula_server_drain(nebula_server* server, int32_t timeout_ms, uint64_t tag) {
  if (server == nullptr) return NEBULA_E_ARGUMENT;
  if (server->engine->is_forked()) return NEBULA_E_FORKED;
  if (!server->has_started()) return NEBULA_E_STATE;
  Duration wait = timeout_ms < 0 ? limits::drain_timeout : ms(timeout_ms);
  // Counted on one loop.
  Loop* loop = &server->branches[0]->loop();
  std::shared_ptr<size_t> left = std::make_shared<size_t>(server->branches.size());
  auto count_down = [loop, first = server->first, left, tag] {
    loop->post([first, left, tag] {
      if (--*left > 0) return;
      nebula_event event{};
      event.kind = NEBULA_EV_DRAINED;
      event.tag = tag;
      first->post_event(event);
    });
  };
  std::vector<Branch*> branches;
  for (const std::unique_ptr<Branch>& branch : server->branches) {
    branches.push_back(branch.get());
    branch->loop().post([branch = branch.get()] { branch->health.shut_down(); });
  }
  // No connection is told to go before callers can know of it from the registry. If the server is freed first, nobody
  // goes on; after that, what was posted to the other loops stands before what frees their branches.
  loop->post([branches, wait, count_down] {
    branches[0]->running->step_down(wait, [branches, count_down](Duration left) {
      for (size_t at = 1; at < branches.size(); at++)
        branches[at]->loop().post(
            [branch = branches[at], left, count_down] { branch->running->drain(left, count_down); });
      branches[0]->running->drain(left, count_down);
    });
  });
  return NEBULA_OK;
}

void nebula_server_free(nebula_server* server) {
  if (server == nullptr || server->engine->is_forked()) return;
  server->stop();
  delete server;
}

}  // extern "C"
