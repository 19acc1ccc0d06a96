// bindings/cpp/nebula/channel.hpp - the caller's side: blocking calls, futures, callbacks, streams.
#ifndef NEBULA_CPP_CHANNEL_HPP
#define NEBULA_CPP_CHANNEL_HPP

#include <algorithm>
#include <chrono>

#include "stream.hpp"

namespace nebula {
inline namespace v1 {

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
  CallOptions& json() { return flag(NEBULA_JSON); }    // content-type application/grpc+json
  CallOptions& proto() { return flag(NEBULA_PROTO); }  // and +proto; neither: the method's own codec

 private:
  friend class Channel;

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

// The deadline of the handler on this thread, which the calls that it makes inherit.
inline Clock::time_point& inherited_deadline() {
  thread_local Clock::time_point deadline = Clock::time_point::max();
  return deadline;
}

// A call at its caller. It owns itself until its FINISHED event; handles share it.
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

  static std::shared_ptr<ClientCall> start(Loop& loop, const Start& start, Callback on_finished = nullptr) {
    if (start.message && start.message->size() > UINT32_MAX)
      throw Error(NEBULA_RESOURCE_EXHAUSTED, "a message has 4 GiB at most");
    std::shared_ptr<ClientCall> call = std::make_shared<ClientCall>(loop, std::move(on_finished));
    call->self_ = call;
    loop.open();
    std::string metadata = start.metadata.pack();
    const char* data = !start.message ? nullptr : start.message->empty() ? "" : start.message->data();
    {
      // Events may come before the number of the call does; they wait for the lock.
      std::lock_guard<std::mutex> hold(call->lock_);
      call->call_ = nebula_call_start(loop.queue(), start.method, call->tag(), start.timeout_us, metadata.data(),
                                      static_cast<uint32_t>(metadata.size()), data,
                                      start.message ? static_cast<uint32_t>(start.message->size()) : 0, start.flags);
    }
    if (call->call_ != 0) return call;
    loop.close();
    call->self_.reset();
    throw Error(NEBULA_INVALID_ARGUMENT, "the call cannot be started: is its metadata well-formed?", {}, Fate::unsent,
                Fault::caller);
  }

  ClientCall(Loop& loop, Callback on_finished) : loop_(loop), on_finished_(std::move(on_finished)) {}

  void cancel(int32_t code) { nebula_call_cancel(call_, code); }

  void end() {
    int32_t result = nebula_call_send(call_, nullptr, 0, NEBULA_END);
    if (result != NEBULA_E_STALE && result != NEBULA_E_STATE) check(result);  // those: it has ended
  }

  // Waits for the end of the call. Throws how it ended if it ended badly; else gives its single response.
  std::optional<std::string> finish() {
    std::unique_lock<std::mutex> hold = wait();
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
  Metadata headers_, trailers_;
  bool has_headers_ = false;
};

inline std::string response_of(std::optional<std::string> bytes) {
  if (!bytes) throw Error(NEBULA_INTERNAL, "the callee ended the call well and without its response", {},
                          Fate::processed, Fault::callee);
  return std::move(*bytes);
}

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
    if (call_ != nullptr) call_->cancel(NEBULA_CANCELLED);
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
      : loop_(engine.loop_) {
    nebula_error error{};
    options.size = sizeof options;
    channel_ = nebula_channel_new(loop_->engine(), target.c_str(), &options, &error);
    if (channel_ == nullptr) throw detail::refusal(error);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() { nebula_channel_free(channel_); }

  // Calls and waits. Throws Error.
  template <class Out = std::string, class In>
  Out call(const std::string& path, const In& request, const CallOptions& options = {}) {
    detail::Loop::check_may_block();
    return start<Out>(path, request, options).get();
  }

  // Calls and returns at once.
  template <class Out = std::string, class In>
  Future<Out> start(const std::string& path, const In& request, const CallOptions& options = {}) {
    return Future<Out>(begin(path, NEBULA_UNARY, options, detail::encode(request)));
  }

  // Calls and returns at once; done(Future<Out>) runs on the engine's thread when the call has ended, so its get() does
  // not wait. It must not throw and must not block. What is returned cancels the call.
  template <class Out = std::string, class In, class Done>
  std::function<void()> start(const std::string& path, const In& request, const CallOptions& options, Done done) {
    detail::ClientCall::Callback on_finished = [done = std::move(done)](const auto& ended) mutable {
      done(Future<Out>(ended));
    };
    std::weak_ptr<detail::ClientCall> call =
        begin(path, NEBULA_UNARY, options, detail::encode(request), std::move(on_finished));
    return [call] {
      if (std::shared_ptr<detail::ClientCall> open = call.lock()) open->cancel(NEBULA_CANCELLED);
    };
  }

  template <class In = std::string, class Out = std::string>
  ClientStream<In, Out> client_stream(const std::string& path, const CallOptions& options = {}) {
    return ClientStream<In, Out>(begin(path, NEBULA_CLIENT_STREAM, options));
  }

  template <class Out = std::string, class In>
  ServerStream<Out> server_stream(const std::string& path, const In& request, const CallOptions& options = {}) {
    return ServerStream<Out>(begin(path, NEBULA_SERVER_STREAM, options, detail::encode(request)));
  }

  template <class In = std::string, class Out = std::string>
  BidiStream<In, Out> bidi(const std::string& path, const CallOptions& options = {}) {
    return BidiStream<In, Out>(begin(path, NEBULA_BIDI, options));
  }

 private:
  std::shared_ptr<detail::ClientCall> begin(const std::string& path, int32_t shape, const CallOptions& options,
                                            std::optional<std::string_view> message = {},
                                            detail::ClientCall::Callback on_finished = nullptr) {
    if (shape != NEBULA_UNARY) shape |= NEBULA_HOLD;
    uint64_t method = nebula_channel_method(channel_, path.c_str(), shape);
    if (method == 0)
      throw Error(NEBULA_INVALID_ARGUMENT, "\"" + path + "\" is no path of a method: \"/service/method\"", {},
                  Fate::unsent, Fault::caller);
    uint32_t flags = options.flags_ | NEBULA_WANT_HEADERS | NEBULA_COMPRESS | (message ? NEBULA_END : 0);
    detail::ClientCall::Start start{method, timeout_us(options), options.metadata_, message, flags};
    return detail::ClientCall::start(*loop_, start, std::move(on_finished));
  }

  // Of the call's own timeout and the deadline of the handler that makes it, the nearer one. 0: none.
  static uint64_t timeout_us(const CallOptions& options) {
    std::chrono::microseconds timeout = options.timeout_.value_or(std::chrono::microseconds::max());
    detail::Clock::time_point deadline = detail::inherited_deadline();
    if (deadline != detail::Clock::time_point::max()) {
      detail::Clock::duration left = deadline - detail::Clock::now();
      timeout = std::min(timeout, std::chrono::duration_cast<std::chrono::microseconds>(left));
    }
    if (timeout == std::chrono::microseconds::max()) return 0;
    return static_cast<uint64_t>(std::max<int64_t>(timeout.count(), 1));
  }

  std::shared_ptr<detail::Loop> loop_;
  nebula_channel* channel_;
};

}  // namespace v1
}  // namespace nebula

#endif
