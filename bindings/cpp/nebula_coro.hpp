// bindings/cpp/nebula_coro.hpp - co_await for nebula.hpp (C++20): calls without a thread or a callback each.
//
//   nebula::Task<std::string> both(nebula::Channel& channel) {
//     nebula::Awaited<std::string> first(channel, "/a.A/Get", "1", 500ms);
//     co_return co_await first + co_await nebula::Awaited<std::string>(channel, "/b.B/Get", "2");
//   }
//   std::string text = nebula::wait(both(channel));
//
// A coroutine goes on where its call ends: on the engine's thread. So it must not block there, and lets everything wait
// by co_await. Deadlines of handlers are not inherited, for a coroutine leaves the handler's thread: say them.
#ifndef NEBULA_CORO_HPP
#define NEBULA_CORO_HPP

#include <coroutine>

#include "nebula.hpp"

namespace nebula {
inline namespace v1 {

// One unary call to be awaited, once. It starts when it is awaited.
template <class Out>
class Awaited {
 public:
  template <class In>
  Awaited(Channel& channel, std::string path, const In& request, CallOptions options = {})
      : channel_(channel), path_(std::move(path)), request_(detail::encode(request)), options_(std::move(options)) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    // The call may end, and with it the coroutine and this, before start returns: so nothing of it is used after that.
    Channel& channel = channel_;
    std::string path = std::move(path_), request = std::move(request_);
    CallOptions options = std::move(options_);
    channel.start<Out>(path, request, options, [this, waiting](Future<Out> ended) {
      ended_.emplace(std::move(ended));
      waiting.resume();
    });
  }
  Out await_resume() { return ended_->get(); }  // throws Error

 private:
  Channel& channel_;
  std::string path_, request_;
  CallOptions options_;
  std::optional<Future<Out>> ended_;
};

// A coroutine that gives a T, or throws. It begins when it is awaited, by another one or by wait().
template <class T>
class [[nodiscard]] Task {
 public:
  struct promise_type {
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Next {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) noexcept {
          return ended.promise().waiting;
        }
        void await_resume() noexcept {}
      };
      return Next{};
    }
    void return_value(T value) { result.emplace(std::move(value)); }
    void unhandled_exception() { exception = std::current_exception(); }

    std::coroutine_handle<> waiting = std::noop_coroutine();
    std::optional<T> result;
    std::exception_ptr exception;
  };

  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) {
    coroutine_.promise().waiting = waiting;
    return coroutine_;
  }
  T await_resume() {
    promise_type& promise = coroutine_.promise();
    if (promise.exception) std::rethrow_exception(promise.exception);
    return std::move(*promise.result);
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> coroutine) : coroutine_(coroutine) {}

  std::coroutine_handle<promise_type> coroutine_;
};

namespace detail {

// Runs to its end by itself, and nobody waits for it.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }  // both users below catch all
  };
};

template <class T>
Detached fulfil(Task<T> task, std::promise<T> promise) {
  try {
    promise.set_value(co_await std::move(task));
  } catch (...) {
    promise.set_exception(std::current_exception());
  }
}

template <class Out>
Detached answer_with(Task<Out> task, Answer<Out> answer) {
  try {
    answer(co_await std::move(task));
  } catch (const Error& error) {
    answer.fail(error);
  } catch (const std::exception& error) {
    answer.fail(Error(NEBULA_UNKNOWN, error.what()));
  } catch (...) {
    answer.fail(Error(NEBULA_UNKNOWN, "the handler threw something that is no std::exception"));
  }
}

template <class T>
struct ItemOf<Task<T>> {
  using Type = T;
};

}  // namespace detail

// Begins a coroutine; its result comes by the future.
template <class T>
std::future<T> begin(Task<T> task) {
  std::promise<T> promise;
  std::future<T> result = promise.get_future();
  detail::fulfil(std::move(task), std::move(promise));
  return result;
}

// Begins a coroutine and waits for it. Not on the engine's thread.
template <class T>
T wait(Task<T> task) {
  detail::Loop::check_may_block();
  return begin(std::move(task)).get();
}

// A unary method whose handler is a coroutine: Task<Out>(In). The request is passed by value, as the coroutine outlives
// whoever calls it; and it should capture nothing that may go before it ends.
template <class Handler>
Server& coroutine(Server& server, const std::string& path, Handler handler) {
  using In = typename detail::Signature<Handler>::template Parameter<0>;
  using Out = typename detail::ItemOf<typename detail::Signature<Handler>::Result>::Type;
  return server.async(path, [handler](const In& request, Answer<Out> answer) mutable {
    detail::answer_with(handler(request), std::move(answer));
  });
}

}  // namespace v1
}  // namespace nebula

#endif
