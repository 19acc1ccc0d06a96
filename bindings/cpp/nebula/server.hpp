// bindings/cpp/nebula/server.hpp - the callee's side: methods are lambdas, whose types say what their messages are.
#ifndef NEBULA_CPP_SERVER_HPP
#define NEBULA_CPP_SERVER_HPP

#include <tuple>
#include <unordered_map>

#include "pool.hpp"
#include "server_call.hpp"

namespace nebula {
inline namespace v1 {

struct ServerOptions {
  nebula_server_options wire{};  // of the ABI; its size is set for you
  size_t threads_max = 256;      // handlers at work at the same time
  size_t waiting_max = 10000;    // calls that wait for one of those; beyond, RESOURCE_EXHAUSTED
};

namespace detail {

// The types of a handler's result and parameters.
template <class Function>
struct SignatureOf;
template <class R, class... P>
struct SignatureOf<std::function<R(P...)>> {
  using Result = std::decay_t<R>;
  template <size_t i>
  using Parameter = std::decay_t<std::tuple_element_t<i, std::tuple<P...>>>;
};
template <class Handler>
using Signature = SignatureOf<decltype(std::function{std::declval<Handler>()})>;

// Reader<T>, Writer<T>, Answer<T>: T. Stream<In, Out>: both.
template <class T>
struct ItemOf;
template <template <class> class Of, class T>
struct ItemOf<Of<T>> {
  using Type = T;
};
template <class T>
struct ItemsOf;
template <class A, class B>
struct ItemsOf<Stream<A, B>> {
  using In = A;
  using Out = B;
};

// Calls it with its context if it takes one.
template <class Handler, class... P>
decltype(auto) invoke(Handler& handler, ServerCall& call, P&&... parameters) {
  if constexpr (std::is_invocable_v<Handler&, P..., Context&>) {
    Context context(call);
    return handler(std::forward<P>(parameters)..., context);
  } else {
    return handler(std::forward<P>(parameters)...);
  }
}

template <class... Messages>
void check_codec(const ServerCall& call) {
  if constexpr ((IsProtobuf<Messages>::value || ...))
    if (call.flags() & NEBULA_JSON)
      throw Error(NEBULA_UNIMPLEMENTED, "this method speaks protobuf (application/grpc+proto) only");
}

template <class In>
In request_of(ServerCall& call) {
  return decode<In>(call.take_request(), NEBULA_INVALID_ARGUMENT);
}

// Whatever a handler throws is the status of its call.
template <class Work>
void guard(ServerCall& call, Work work) {
  InheritedScope scope({call.deadline(), call.id()});
  try {
    work();
  } catch (const Error& error) {
    call.fail(error);
  } catch (const std::exception& error) {
    call.fail(Error(NEBULA_UNKNOWN, error.what()));
  } catch (...) {
    call.fail(Error(NEBULA_UNKNOWN, "the handler threw something that is no std::exception"));
  }
}

// What lives as long as an event of the server may come.
struct ServerState : std::enable_shared_from_this<ServerState> {
  using Handler = std::function<void(const std::shared_ptr<ServerCall>&)>;

  // The receiver of all events of one method's calls.
  struct Method final : Receiver {
    Method(ServerState& state, std::string path, int32_t shape, Handler handler, bool is_async)
        : state(state), path(std::move(path)), shape(shape), handler(std::move(handler)), is_async(is_async) {}

    void on_event(const nebula_event& event) override {
      if (event.kind == NEBULA_EV_CALL) return state.serve(*this, state.make_call(event));
      if (std::shared_ptr<ServerCall> call = state.find(event.call)) call->on_event(event);
    }

    ServerState& state;
    const std::string path;
    const int32_t shape;
    const Handler handler;
    const bool is_async;
  };

  struct Drained final : Receiver {
    void on_event(const nebula_event&) override { done.set_value(); }
    std::promise<void> done;
  };

  explicit ServerState(const ServerOptions& options) : pool(options.threads_max, options.waiting_max) {}

  // Known by its number until its handler has let it go.
  std::shared_ptr<ServerCall> make_call(const nebula_event& event) {
    std::shared_ptr<ServerCall> call(new ServerCall(event), [weak = weak_from_this()](ServerCall* ended) {
      if (std::shared_ptr<ServerState> state = weak.lock()) state->forget(ended->id());
      delete ended;
    });
    std::lock_guard<std::mutex> hold(lock);
    calls.emplace(event.call, call);
    return call;
  }

  std::shared_ptr<ServerCall> find(uint64_t id) {
    std::lock_guard<std::mutex> hold(lock);
    auto found = calls.find(id);
    return found == calls.end() ? nullptr : found->second.lock();
  }

  void forget(uint64_t id) {
    std::lock_guard<std::mutex> hold(lock);
    calls.erase(id);
  }

  void serve(Method& method, std::shared_ptr<ServerCall> call) {
    if (method.is_async && filters.empty()) return guard(*call, [&] { method.handler(call); });
    bool has_room = pool.run([this, &method, call] {
      if (call->is_over()) return;
      guard(*call, [&] { filters.empty() ? method.handler(call) : serve_filtered(method, call); });
    });
    if (!has_room) call->fail(Error(NEBULA_RESOURCE_EXHAUSTED, "all threads of the server are at work"));
  }

  // The filters with the handler in their midst, then the answer. A handler that answers later keeps this thread.
  void serve_filtered(Method& method, const std::shared_ptr<ServerCall>& call) {
    std::function<std::string()> read;
    if ((method.shape & NEBULA_HOLD) == 0) read = [&] { return call->take_sent_request(); };
    FilteredCall outer(method.path, (method.shape & ~NEBULA_HOLD) != NEBULA_UNARY, std::move(read));
    Context context(*call);
    outer.metadata = call->metadata();
    outer.peer = context.peer();
    outer.context = &context;
    if (call->deadline() != Clock::time_point::max())
      outer.timeout = std::chrono::duration_cast<std::chrono::microseconds>(call->deadline() - Clock::now());
    auto last = [&](FilteredCall& inner) {
      struct Hold {
        Hold(ServerCall& call, FilteredCall& inner) : call(call), inner(inner) { call.hold_for(&inner); }
        ~Hold() {
          inner.ended().trailers = call.trailers();
          call.hold_for(nullptr);
        }
        ServerCall& call;
        FilteredCall& inner;
      } hold(*call, inner);
      method.handler(call);
      return call->take_held();
    };
    const bool has_answer = (method.shape & NEBULA_SERVER_STREAM) == 0;  // nor has that of bidi
    std::string answer = run_filters(filters, 0, outer, last, has_answer);
    has_answer ? call->answer(answer) : call->finish();
  }

  std::mutex lock;
  std::unordered_map<uint64_t, std::weak_ptr<ServerCall>> calls;
  std::vector<Filter> filters;
  std::deque<Method> methods;  // a deque: their addresses are tags
  Drained drained;
  Pool pool;
};

// Comes out of the queue behind all events of a server that has been freed.
struct Farewell final : Receiver {
  Farewell(Loop& loop, std::shared_ptr<ServerState> state) : loop(loop), state(std::move(state)) {}

  void on_event(const nebula_event&) override {
    loop.close();
    delete this;
  }

  Loop& loop;
  std::shared_ptr<ServerState> state;
};

}  // namespace detail

// A server. Methods first, then listen, then start or run; all by one thread. A handler gives its response or throws;
// an Error is the status of the call, any other exception UNKNOWN with its what(). Handlers run on threads of the
// server and may block. When it goes, open calls are cut off (drain() lets them end), and it waits for their handlers: so it
// must not go in a handler or a callback.
class Server {
 public:
  explicit Server(const ServerOptions& options = {}, const Engine& engine = Engine::common())
      : loop_(engine.loop_), state_(std::make_shared<detail::ServerState>(options)) {
    nebula_error error{};
    nebula_server_options wire = options.wire;
    wire.size = sizeof wire;
    server_ = nebula_server_new(loop_->engine(), &wire, &error);
    if (server_ == nullptr) throw detail::refusal(error);
  }
  explicit Server(const Engine& engine) : Server(ServerOptions(), engine) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    loop_->perform([this] {
      nebula_server_free(server_);
      loop_->open();
      nebula_wake(loop_->queue(), (new detail::Farewell(*loop_, state_))->tag());
    });
    state_->pool.stop();
  }

  // handler: Out(const In&) or Out(const In&, Context&).
  template <class Handler>
  Server& unary(const std::string& path, Handler handler) {
    using In = typename detail::Signature<Handler>::template Parameter<0>;
    using Out = typename detail::Signature<Handler>::Result;
    return add(path, NEBULA_UNARY, [handler](const ServedCall& call) mutable {
      detail::check_codec<In, Out>(*call);
      In request = detail::request_of<In>(*call);
      const Out response = detail::invoke(handler, *call, request);
      call->answer(detail::encode(response));
    });
  }

  // handler: void(const In&, Writer<Out>&) or void(const In&, Writer<Out>&, Context&).
  template <class Handler>
  Server& server_stream(const std::string& path, Handler handler) {
    using In = typename detail::Signature<Handler>::template Parameter<0>;
    using Out = typename detail::ItemOf<typename detail::Signature<Handler>::template Parameter<1>>::Type;
    return add(path, NEBULA_SERVER_STREAM, [handler](const ServedCall& call) mutable {
      detail::check_codec<In, Out>(*call);
      In request = detail::request_of<In>(*call);
      Writer<Out> writer(*call);
      detail::invoke(handler, *call, request, writer);
      call->finish();
    });
  }

  // handler: Out(Reader<In>&) or Out(Reader<In>&, Context&).
  template <class Handler>
  Server& client_stream(const std::string& path, Handler handler) {
    using In = typename detail::ItemOf<typename detail::Signature<Handler>::template Parameter<0>>::Type;
    using Out = typename detail::Signature<Handler>::Result;
    return add(path, NEBULA_CLIENT_STREAM | NEBULA_HOLD, [handler](const ServedCall& call) mutable {
      detail::check_codec<In, Out>(*call);
      Reader<In> reader(*call, NEBULA_INVALID_ARGUMENT);
      const Out response = detail::invoke(handler, *call, reader);
      call->answer(detail::encode(response));
    });
  }

  // handler: void(Stream<In, Out>&) or void(Stream<In, Out>&, Context&).
  template <class Handler>
  Server& bidi(const std::string& path, Handler handler) {
    using Items = detail::ItemsOf<typename detail::Signature<Handler>::template Parameter<0>>;
    using In = typename Items::In;
    using Out = typename Items::Out;
    return add(path, NEBULA_BIDI | NEBULA_HOLD, [handler](const ServedCall& call) mutable {
      detail::check_codec<In, Out>(*call);
      Stream<In, Out> stream(*call, NEBULA_INVALID_ARGUMENT);
      detail::invoke(handler, *call, stream);
      call->finish();
    });
  }

  // A unary method that needs no thread while it waits. handler: void(const In&, Answer<Out>), on the engine's thread:
  // it must not block, and may answer later, from anywhere.
  template <class Handler>
  Server& async(const std::string& path, Handler handler) {
    using In = typename detail::Signature<Handler>::template Parameter<0>;
    using Out = typename detail::ItemOf<typename detail::Signature<Handler>::template Parameter<1>>::Type;
    return add(path, NEBULA_UNARY, [handler](const ServedCall& call) mutable {
      detail::check_codec<In, Out>(*call);
      In request = detail::request_of<In>(*call);
      handler(request, Answer<Out>(call));
    }, true);
  }

  // Around the calls of all methods, inside of the filters that there are; before start. See Filter. With filters, a
  // call of an async method has a thread of the server while it is open.
  Server& filter(Filter filter) {
    state_->filters.push_back(std::move(filter));
    return *this;
  }

  // tcp://host:port (0: any), unix:/path, mem:name; empty: found by name on this host, and nothing to configure.
  // announce: the names to be found under, comma-separated; empty: none, or all services where the address is empty.
  Server& listen(const std::string& address = {}, const std::string& announce = {}) {
    nebula_error error{};
    nebula_listen_options options{};
    options.size = sizeof options;
    options.announce = announce.empty() ? nullptr : announce.c_str();
    if (nebula_server_listen(server_, address.empty() ? nullptr : address.c_str(), &options, &error) < 0)
      throw detail::refusal(error);
    is_listening_ = true;
    return *this;
  }

  // What the protobuf services look like, for grpc.reflection: a serialized google.protobuf.FileDescriptorSet, as
  // `protoc --include_imports --descriptor_set_out` writes it. Before start; it may be given in parts.
  Server& describe(std::string_view descriptor_set) {
    const uint32_t size = static_cast<uint32_t>(descriptor_set.size());
    detail::check(nebula_server_describe(server_, descriptor_set.data(), size));
    return *this;
  }

  // What a service looks like, for callers that send JSON: a JSON document with a JSON Schema for each message, as
  // nebula_server_schema describes it. Services of describe()'s files need none. Before start. Throws Error where it is
  // no description of that service.
  Server& schema(const std::string& service, std::string_view json) {
    detail::check(nebula_server_schema(server_, service.c_str(), json.data(), static_cast<uint32_t>(json.size())));
    return *this;
  }

  // Returns when callers can find it. Without a listen() before, it listens at the default address.
  void start() {
    if (!is_listening_) listen();
    nebula_error error{};
    int32_t result = 0;
    loop_->perform([&] {
      nebula_queue* queue = loop_->queue();
      result = nebula_server_start(server_, &queue, 1, &error);
    });
    if (result < 0) throw detail::refusal(error);
    has_started_ = true;
  }

  // Starts, if nobody has, serves until SIGINT or SIGTERM comes, and drains; a second signal ends the program as ever.
  // Call it before the program has threads of its own, or let those block the two signals.
  void run() {
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, &before);
    if (!has_started_) start();
    int which = 0;
    sigwait(&stop, &which);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    drain();
  }

  // Withdraws, sends callers elsewhere, and waits until running calls have ended; those of them that have not by then
  // are cut off. Once.
  void drain(std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
    detail::Loop::check_may_block();
    std::future<void> done = state_->drained.done.get_future();
    detail::check(nebula_server_drain(server_, static_cast<int32_t>(timeout.count()), state_->drained.tag()));
    done.get();
  }

  // The addresses in use, separated by spaces.
  std::string urls() const {
    std::string urls(static_cast<size_t>(nebula_server_urls(server_, nullptr, 0)) + 1, '\0');
    nebula_server_urls(server_, urls.data(), static_cast<uint32_t>(urls.size()));
    urls.pop_back();
    return urls;
  }

  // What grpc.health.v1 says of a service; "": of the whole server.
  void health(const std::string& service, bool is_serving) {
    detail::check(nebula_server_health(server_, service.c_str(), is_serving ? 1 : 2));
  }

 private:
  using ServedCall = std::shared_ptr<detail::ServerCall>;

  Server& add(const std::string& path, int32_t shape, detail::ServerState::Handler handler, bool is_async = false) {
    detail::ServerState::Method& method = state_->methods.emplace_back(
        *state_, path, shape, std::move(handler), is_async);
    if (nebula_server_method(server_, path.c_str(), shape, method.tag()) == NEBULA_OK) return *this;
    state_->methods.pop_back();
    throw Error(NEBULA_INVALID_ARGUMENT, "\"" + path + "\" is taken, or no path of a method: \"/service/method\"");
  }

  std::shared_ptr<detail::Loop> loop_;
  std::shared_ptr<detail::ServerState> state_;
  nebula_server* server_;
  bool is_listening_ = false, has_started_ = false;
};

}  // namespace v1
}  // namespace nebula

#endif
