// bindings/cpp/nebula/channel.hpp - the caller's side: blocking calls, futures, callbacks, streams.
#ifndef NEBULA_CPP_CHANNEL_HPP
#define NEBULA_CPP_CHANNEL_HPP

#include <algorithm>
#include <chrono>

#include "filter.hpp"

namespace nebula {
inline namespace v1 {
namespace detail {
struct Way;
}

// What one call wants. A duration alone will do: channel.call(path, request, 500ms).
class CallOptions {
 public:
  CallOptions() = default;
  template <class Rep, class Period>
  CallOptions(std::chrono::duration<Rep, Period> timeout) { this->timeout(timeout); }

  // Zero or less: over at once. Without one, and outside of a handler that has a deadline, a call waits for ever.
  template <class Rep, class Period>
  CallOptions& timeout(std::chrono::duration<Rep, Period> timeout) {
    timeout_ = std::chrono::duration_cast<std::chrono::microseconds>(timeout);
    return *this;
  }
  CallOptions& metadata(std::string name, std::string value) {
    metadata_.add(std::move(name), std::move(value));
    return *this;
  }
  CallOptions& wait_for_ready() { return flag(NEBULA_WAIT_FOR_READY); }  // wait for an instance instead of failing fast
  CallOptions& idempotent() { return flag(NEBULA_IDEMPOTENT); }
  CallOptions& gzip() { return flag(NEBULA_GZIP); }    // the compression of the requests, in place of the channel's
  CallOptions& zstd() { return flag(NEBULA_ZSTD); }
  // JSON text, content-type application/grpc+json. Before it is sent it is checked against the service's description,
  // where there is one: what it does not take is an Error of INVALID_ARGUMENT that names the field, Fate::unsent.
  CallOptions& json() { return flag(NEBULA_JSON | NEBULA_CHECK); }
  CallOptions& proto() { return flag(NEBULA_PROTO); }  // and +proto; neither: the method's own codec

 private:
  friend struct detail::Way;

  CallOptions& flag(uint32_t flag) {
    flags_ |= flag;
    return *this;
  }

  std::optional<std::chrono::microseconds> timeout_;
  Metadata metadata_;
  uint32_t flags_ = 0;
};

namespace detail {

using Clock = std::chrono::steady_clock;

// What calls inherit from the one that is handled where they are made.
struct Inherited {
  Clock::time_point deadline = Clock::time_point::max();
  uint64_t parent = 0;  // that call, for the engine; 0: none
};

// Of the handler on this thread.
inline Inherited& inherited() {
  thread_local Inherited inherited;
  return inherited;
}

// Calls made on this thread meanwhile inherit that.
class InheritedScope {
 public:
  explicit InheritedScope(Inherited now) : before_(std::exchange(inherited(), now)) {}
  ~InheritedScope() { inherited() = before_; }

 private:
  const Inherited before_;
};

// A call at its caller. It owns itself until its FINISHED event; handles share it. One that goes by way of filters is
// either a stream, which they have let through, or stands for the calls that they make.
class ClientCall final : public Receiver, public Pipe {
 public:
  using Callback = std::function<void(const std::shared_ptr<ClientCall>&)>;

  struct Start {
    uint64_t method;
    uint64_t timeout_us;
    const Metadata& metadata;
    std::optional<std::string_view> message;
    uint32_t flags;
  };

  static std::shared_ptr<ClientCall> start(Loop& loop, const Start& start, Callback on_finished = nullptr,
                                           std::shared_ptr<Around> around = nullptr) {
    if (start.message && start.message->size() > UINT32_MAX)
      throw Error(NEBULA_RESOURCE_EXHAUSTED, "a message has 4 GiB at most");
    std::shared_ptr<ClientCall> call = std::make_shared<ClientCall>(loop, std::move(on_finished));
    call->self_ = call;
    call->filter_ = call->around_ = std::move(around);
    loop.open();
    std::string metadata = start.metadata.pack();
    const char* data = !start.message ? nullptr : start.message->empty() ? "" : start.message->data();
    {
      // Events may come before the number of the call does; they wait for the lock.
      std::lock_guard<std::mutex> hold(call->lock_);
      call->call_ = nebula_call_start_under(
          loop.queue(), start.method, call->tag(), start.timeout_us, metadata.data(), static_cast<uint32_t>(metadata.size()),
          data, start.message ? static_cast<uint32_t>(start.message->size()) : 0, start.flags, inherited().parent);
    }
    if (call->call_ != 0) return call;
    loop.close();
    call->self_.reset();
    throw Error(NEBULA_INVALID_ARGUMENT, "the call cannot be started: is its metadata well-formed?", {}, Fate::unsent,
                Fault::caller);
  }

  ClientCall(Loop& loop, Callback on_finished) : loop_(loop), on_finished_(std::move(on_finished)) {}

  // A stream that its filters have ended, without a call.
  static std::shared_ptr<ClientCall> ended(Loop& loop, std::shared_ptr<Around> around) {
    std::shared_ptr<ClientCall> call = std::make_shared<ClientCall>(loop, nullptr);
    call->filter_ = call->around_ = std::move(around);
    call->is_over_ = true;
    return call;
  }

  void cancel(int32_t code) { cancel_ ? cancel_(code) : static_cast<void>(nebula_call_cancel(call_, code)); }

  // Its handle goes: nobody could learn how it ends.
  void abandon() {
    cancel(NEBULA_CANCELLED);
    if (filter_ != nullptr) filter_->leave();
  }

  // For one that stands for others: how to cancel those, and how they have ended.
  void stand_for(std::function<void(int32_t)> cancel) { cancel_ = std::move(cancel); }
  void settle(const std::shared_ptr<ClientCall>& self, std::optional<std::string> response, std::exception_ptr thrown,
              const FilteredCall::End& end) {
    {
      std::lock_guard<std::mutex> hold(lock_);
      if (response) inbox_.push_back(std::move(*response));
      thrown_ = thrown;
      if (thrown) error_ = error_of(thrown);
      headers_ = end.headers;
      trailers_ = end.trailers;
      has_headers_ = is_over_ = true;
    }
    changed_.notify_all();
    if (Callback callback = std::move(on_finished_)) callback(self);
  }

  void end() {
    int32_t result = nebula_call_send(call_, nullptr, 0, NEBULA_END);
    if (result != NEBULA_E_STALE && result != NEBULA_E_STATE) check(result);  // those: it has ended
  }

  // Waits for the end of the call. Throws how it ended if it ended badly; else gives its single response.
  std::optional<std::string> finish() {
    std::unique_lock<std::mutex> hold = wait();
    if (filter_ != nullptr) return filtered_finish(hold);
    if (thrown_) std::rethrow_exception(thrown_);
    if (error_) throw *error_;
    return inbox_.empty() ? std::nullopt : std::optional<std::string>(take());
  }

  template <class Duration>
  bool wait_for(Duration duration) {
    Loop::check_may_block();
    std::unique_lock<std::mutex> hold(lock_);
    return changed_.wait_for(hold, duration, [this] { return is_over_; });
  }

  // Waits for the response to begin.
  Metadata headers() {
    std::unique_lock<std::mutex> hold(lock_);
    if (!has_headers_ && !is_over_) Loop::check_may_block();
    changed_.wait(hold, [this] { return has_headers_ || is_over_; });
    return headers_;
  }

  // Wait for the end of the call.
  Metadata trailers() {
    std::unique_lock<std::mutex> hold = wait();
    return trailers_;
  }
  std::optional<Error> error() {
    std::unique_lock<std::mutex> hold = wait();
    return error_;
  }

 private:
  std::optional<std::string> filtered_finish(std::unique_lock<std::mutex>& hold) {
    std::optional<std::string> response;
    if (!inbox_.empty()) response = take();
    hold.unlock();
    if (response) response = filter_->incoming(std::move(*response));
    filter_->end();
    return response;
  }

  static Error error_of(const std::exception_ptr& thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      return error;
    } catch (const std::exception& error) {
      return Error(NEBULA_UNKNOWN, error.what());
    } catch (...) {
      return Error(NEBULA_UNKNOWN, "a filter threw something that is no std::exception");
    }
  }

  std::unique_lock<std::mutex> wait() {
    std::unique_lock<std::mutex> hold(lock_);
    if (!is_over_) Loop::check_may_block();
    changed_.wait(hold, [this] { return is_over_; });
    return hold;
  }

  void on_event(const nebula_event& event) override {
    {
      std::lock_guard<std::mutex> hold(lock_);
      switch (event.kind) {
        case NEBULA_EV_HEADERS:
          headers_ = Metadata::unpack(event.metadata, event.metadata_size);
          has_headers_ = true;
          break;
        case NEBULA_EV_MESSAGE: receive(event); break;
        case NEBULA_EV_WRITABLE: is_full_ = false; break;
        case NEBULA_EV_FINISHED: on_finished(event); break;
        default: break;
      }
    }
    changed_.notify_all();
    if (event.kind != NEBULA_EV_FINISHED) return;
    if (around_ != nullptr) around_->over(error_, headers_, trailers_);
    std::shared_ptr<ClientCall> self = std::move(self_);
    if (Callback callback = std::move(on_finished_)) callback(self);
    loop_.close();
  }

  void on_finished(const nebula_event& event) {
    is_over_ = true;
    trailers_ = Metadata::unpack(event.metadata, event.metadata_size);
    if (event.status == NEBULA_OK && event.data != nullptr) receive(event);
    if (event.status != NEBULA_OK)
      error_.emplace(event.status, text_of(event), trailers_, static_cast<Fate>(event.value & 255),
                     static_cast<Fault>(event.value >> 8 & 255));
  }

  Loop& loop_;  // outlives the call: it ends when nothing is open
  Callback on_finished_;
  std::shared_ptr<ClientCall> self_;
  std::shared_ptr<Around> around_;         // of a stream
  std::function<void(int32_t)> cancel_;    // of one that stands for others
  std::exception_ptr thrown_;
  Metadata headers_, trailers_;
  bool has_headers_ = false;
};

inline std::string response_of(std::optional<std::string> bytes) {
  if (!bytes) throw Error(NEBULA_INTERNAL, "the callee ended the call well and without its response", {},
                          Fate::processed, Fault::callee);
  return std::move(*bytes);
}

// A channel as its calls have it: those that go by way of filters may outlast the Channel.
struct Way {
  std::shared_ptr<Loop> loop;
  std::shared_ptr<nebula_channel> channel;
  std::vector<Filter> filters;

  std::shared_ptr<ClientCall> begin(const std::string& path, int32_t shape, const CallOptions& options,
                                    std::optional<std::string_view> message = {},
                                    ClientCall::Callback on_finished = nullptr,
                                    std::shared_ptr<Around> around = nullptr) const {
    if (shape != NEBULA_UNARY) shape |= NEBULA_HOLD;
    uint64_t method = nebula_channel_method(channel.get(), path.c_str(), shape);
    if (method == 0)
      throw Error(NEBULA_INVALID_ARGUMENT, "\"" + path + "\" is no path of a method: \"/service/method\"", {},
                  Fate::unsent, Fault::caller);
    uint32_t flags = options.flags_ | NEBULA_WANT_HEADERS | NEBULA_COMPRESS | (message ? NEBULA_END : 0);
    ClientCall::Start start{method, timeout_us(options), options.metadata_, message, flags};
    return ClientCall::start(*loop, start, std::move(on_finished), std::move(around));
  }

  // Of the call's own timeout and the deadline of the handler that makes it, the nearer one. 0: none.
  static uint64_t timeout_us(const CallOptions& options) {
    std::chrono::microseconds timeout = options.timeout_.value_or(std::chrono::microseconds::max());
    Clock::time_point deadline = inherited().deadline;
    if (deadline != Clock::time_point::max()) {
      Clock::duration left = deadline - Clock::now();
      timeout = std::min(timeout, std::chrono::duration_cast<std::chrono::microseconds>(left));
    }
    if (timeout == std::chrono::microseconds::max()) return 0;
    return static_cast<uint64_t>(std::max<int64_t>(timeout.count(), 1));
  }

  // ---- with filters

  // The calls that filters make for one, one after the other.
  class Attempts {
   public:
    template <class Begin>
    std::shared_ptr<ClientCall> begin(Begin begin) {
      std::lock_guard<std::mutex> hold(lock_);
      if (cancelled_ != 0) throw Error(cancelled_, "the call was cancelled", {}, Fate::unsent, Fault::caller);
      return last_ = begin();
    }
    void cancel(int32_t code) {
      std::lock_guard<std::mutex> hold(lock_);
      cancelled_ = code;
      if (last_ != nullptr) last_->cancel(code);
    }

   private:
    std::mutex lock_;
    int32_t cancelled_ = 0;
    std::shared_ptr<ClientCall> last_;
  };

  // What the calls that filters make inherit: no more time than the one that they are around.
  static Inherited inherited_by(const CallOptions& options) {
    Inherited all = inherited();
    if (options.timeout_) all.deadline = std::min(all.deadline, Clock::now() + *options.timeout_);
    return all;
  }

  static CallOptions inside(const CallOptions& options, const FilteredCall& inner) {
    CallOptions changed = options;
    changed.metadata_ = inner.metadata;
    changed.timeout_ = inner.timeout;
    return changed;
  }

  static void describe(FilteredCall& call, const CallOptions& options) {
    call.metadata = options.metadata_;
    call.timeout = options.timeout_;
  }

  // Runs them on this thread; gives the single answer.
  std::string through_filters(const std::string& path, std::string request, const CallOptions& options,
                              Attempts& attempts, FilteredCall::End& end) const {
    InheritedScope scope(inherited_by(options));
    FilteredCall call(path, false, [&request] { return request; });
    describe(call, options);
    auto last = [&](FilteredCall& inner) {
      std::shared_ptr<ClientCall> attempt = attempts.begin(
          [&] { return begin(path, NEBULA_UNARY, inside(options, inner), inner.request()); });
      end.trailers = inner.ended().trailers = attempt->trailers();  // which waits for its end
      end.headers = inner.ended().headers = attempt->headers();
      return response_of(attempt->finish());
    };
    return run_filters(filters, 0, call, last, true);
  }

  // Runs them on a thread of their own.
  std::shared_ptr<ClientCall> begin_through_filters(const std::string& path, std::string request,
                                                    const CallOptions& options,
                                                    ClientCall::Callback on_finished = nullptr) const {
    std::shared_ptr<Attempts> attempts = std::make_shared<Attempts>();
    std::shared_ptr<ClientCall> call = std::make_shared<ClientCall>(*loop, std::move(on_finished));
    call->stand_for([attempts](int32_t code) { attempts->cancel(code); });
    spawn([way = *this, path, request, options, attempts, call, all = inherited()] {
      InheritedScope scope(all);
      std::optional<std::string> response;
      std::exception_ptr thrown;
      FilteredCall::End end;
      try {
        response = way.through_filters(path, request, options, *attempts, end);
      } catch (...) {
        thrown = std::current_exception();
      }
      call->settle(call, std::move(response), thrown, end);
    }).detach();
    return call;
  }

  // A stream, when they have let it through.
  std::shared_ptr<ClientCall> open_through_filters(const std::string& path, int32_t shape, const CallOptions& options,
                                                   std::optional<std::string> request) const {
    Loop::check_may_block();
    Inherited all = inherited_by(options);
    std::shared_ptr<Around> around = std::make_shared<Around>();
    FilteredCall* innermost = around->begin([way = *this, path, options, request, all](Around& self) {
      InheritedScope scope(all);
      FilteredCall call(path, true, request ? [&request] { return *request; } : std::function<std::string()>());
      describe(call, options);
      run_filters(way.filters, 0, call, [&self](FilteredCall& inner) { return self.last(inner); }, false);
    });
    if (innermost == nullptr) return ClientCall::ended(*loop, around);
    try {
      InheritedScope scope(all);
      std::optional<std::string_view> message;
      if (innermost->has_request()) message = innermost->request();
      return begin(path, shape, inside(options, *innermost), message, nullptr, around);
    } catch (...) {
      around->refuse(std::current_exception());
    }
    return ClientCall::ended(*loop, around);
  }
};

}  // namespace detail

// What every handle of a call can do. A call whose handle goes before it has ended is cancelled: nobody could learn how
// it ends.
class Call {
 public:
  Call(Call&&) = default;
  Call& operator=(Call&& other) {
    if (this == &other) return *this;
    abandon();
    call_ = std::move(other.call_);
    return *this;
  }
  ~Call() { abandon(); }

  // From any thread, at any moment. code: NEBULA_CANCELLED or another of 1 to 16.
  void cancel(int32_t code = NEBULA_CANCELLED) { call_->cancel(code); }

  // False: it is not over yet.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> duration) { return call_->wait_for(duration); }

  Metadata headers() { return call_->headers(); }            // waits for the response to begin
  Metadata trailers() { return call_->trailers(); }          // waits for the end
  std::optional<Error> error() { return call_->error(); }    // waits for the end; none: it ended well

 protected:
  explicit Call(std::shared_ptr<detail::ClientCall> call) : call_(std::move(call)) {}

  std::shared_ptr<detail::ClientCall> call_;

 private:
  void abandon() {
    if (call_ != nullptr) call_->abandon();
  }
};

// A unary call under way.
template <class Out>
class Future : public Call {
 public:
  // Waits for the response; once. Throws Error.
  Out get() { return detail::decode<Out>(detail::response_of(call_->finish()), NEBULA_INTERNAL); }

 private:
  friend class Channel;
  using Call::Call;
};

template <class In, class Out>
class ClientStream : public Call, public Writer<In> {
 public:
  // Ends the stream of requests and waits for the response; once. Throws Error.
  Out finish() {
    call_->end();
    return detail::decode<Out>(detail::response_of(call_->finish()), NEBULA_INTERNAL);
  }

 private:
  friend class Channel;
  explicit ClientStream(const std::shared_ptr<detail::ClientCall>& call) : Call(call), Writer<In>(*call) {}
};

template <class Out>
class ServerStream : public Call, public Reader<Out> {
 private:
  friend class Channel;
  explicit ServerStream(const std::shared_ptr<detail::ClientCall>& call)
      : Call(call), Reader<Out>(*call, NEBULA_INTERNAL) {}
};

template <class In, class Out>
class BidiStream : public Call, public Stream<Out, In> {
 public:
  // No more requests; responses may go on.
  void end() { call_->end(); }

 private:
  friend class Channel;
  explicit BidiStream(const std::shared_ptr<detail::ClientCall>& call)
      : Call(call), Stream<Out, In>(*call, NEBULA_INTERNAL) {}
};

// A target to call: nebula://name (one service), nebula: (the first part of each path is the name), tcp://host:port,
// unix:/path, mem:name. From any thread. Calls that are open when it goes end with CANCELLED.
class Channel {
 public:
  // options: of the ABI; their size is set for you. compression is that of all requests, but for those that are written
  // without. Throws Error where the target is none.
  explicit Channel(const std::string& target = "nebula:", const Engine& engine = Engine::common(),
                   nebula_channel_options options = {})
      : way_{engine.loop_, nullptr, {}} {
    nebula_error error{};
    options.size = sizeof options;
    nebula_channel* channel = nebula_channel_new(way_.loop->engine(), target.c_str(), &options, &error);
    if (channel == nullptr) throw detail::refusal(error);
    way_.channel.reset(channel, nebula_channel_free);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Around all calls, inside of the filters that there are; before the first call. See Filter. Calls that go by way of
  // filters and are open when the channel goes do not end with it.
  Channel& filter(Filter filter) {
    way_.filters.push_back(std::move(filter));
    return *this;
  }

  // Calls and waits. Throws Error.
  template <class Out = std::string, class In>
  Out call(const std::string& path, const In& request, const CallOptions& options = {}) {
    detail::Loop::check_may_block();
    if (!way_.filters.empty()) {
      detail::Way::Attempts attempts;
      FilteredCall::End end;
      std::string bytes(detail::encode(request));
      return detail::decode<Out>(way_.through_filters(path, std::move(bytes), options, attempts, end), NEBULA_INTERNAL);
    }
    return start<Out>(path, request, options).get();
  }

  // Calls and returns at once.
  template <class Out = std::string, class In>
  Future<Out> start(const std::string& path, const In& request, const CallOptions& options = {}) {
    if (!way_.filters.empty())
      return Future<Out>(way_.begin_through_filters(path, std::string(detail::encode(request)), options));
    return Future<Out>(way_.begin(path, NEBULA_UNARY, options, detail::encode(request)));
  }

  // Calls and returns at once; done(Future<Out>) runs on the engine's thread when the call has ended, so its get() does
  // not wait. It must not throw and must not block. What is returned cancels the call.
  template <class Out = std::string, class In, class Done>
  std::function<void()> start(const std::string& path, const In& request, const CallOptions& options, Done done) {
    detail::ClientCall::Callback on_finished = [done = std::move(done)](const auto& ended) mutable {
      done(Future<Out>(ended));
    };
    std::weak_ptr<detail::ClientCall> call =
        way_.filters.empty()
            ? way_.begin(path, NEBULA_UNARY, options, detail::encode(request), std::move(on_finished))
            : way_.begin_through_filters(path, std::string(detail::encode(request)), options, std::move(on_finished));
    return [call] {
      if (std::shared_ptr<detail::ClientCall> open = call.lock()) open->cancel(NEBULA_CANCELLED);
    };
  }

  template <class In = std::string, class Out = std::string>
  ClientStream<In, Out> client_stream(const std::string& path, const CallOptions& options = {}) {
    return ClientStream<In, Out>(open(path, NEBULA_CLIENT_STREAM, options));
  }

  template <class Out = std::string, class In>
  ServerStream<Out> server_stream(const std::string& path, const In& request, const CallOptions& options = {}) {
    return ServerStream<Out>(open(path, NEBULA_SERVER_STREAM, options, detail::encode(request)));
  }

  template <class In = std::string, class Out = std::string>
  BidiStream<In, Out> bidi(const std::string& path, const CallOptions& options = {}) {
    return BidiStream<In, Out>(open(path, NEBULA_BIDI, options));
  }

 private:
  std::shared_ptr<detail::ClientCall> open(const std::string& path, int32_t shape, const CallOptions& options,
                                           std::optional<std::string_view> message = {}) {
    if (way_.filters.empty()) return way_.begin(path, shape, options, message);
    return way_.open_through_filters(path, shape, options,
                                     message ? std::optional<std::string>(*message) : std::nullopt);
  }

  detail::Way way_;
};

// Runs work() and gives what it gives; calls that it makes on this thread do not inherit the deadline of the handler that
// is running, nor its retries: for what is to outlive it.
template <class Work>
decltype(auto) detached(Work work) {
  detail::InheritedScope scope({});
  return work();
}

}  // namespace v1
}  // namespace nebula

#endif
