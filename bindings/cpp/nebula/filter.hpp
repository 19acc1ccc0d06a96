// bindings/cpp/nebula/filter.hpp - filters: functions around calls, of clients and servers, in all four shapes.
#ifndef NEBULA_CPP_FILTER_HPP
#define NEBULA_CPP_FILTER_HPP

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "stream.hpp"

namespace nebula {
inline namespace v1 {

class Context;

// A call as one filter sees it, its messages as bytes. What it changes is seen by the filters inside of it, and by the
// call itself; what those change does not come back. For the filter's thread.
class FilteredCall {
 public:
  // Gets a message and returns the one that goes on in its place.
  using Change = std::function<std::string(std::string message)>;

  // How the call ended, as far as metadata tells: all filters of a call share it.
  struct End {
    Metadata headers, trailers;
  };

  FilteredCall(std::string method, bool is_stream, std::function<std::string()> read)
      : method_(std::move(method)), is_stream_(is_stream), has_request_(read != nullptr), read_(std::move(read)),
        end_(std::make_shared<End>()) {}
  FilteredCall(const FilteredCall&) = delete;
  FilteredCall& operator=(const FilteredCall&) = delete;

  const std::string& method() const { return method_; }  // its path: "/service/method"
  bool is_stream() const { return is_stream_; }           // there are many messages, in either direction

  Metadata metadata;  // what goes to the server beside the request, or has come from the client
  // Until DEADLINE_EXCEEDED; none: never. On a client it may be set, but gets no longer than the caller has said; on a
  // server it is what the caller has left.
  std::optional<std::chrono::microseconds> timeout;
  std::string peer;            // on a server who calls; "" on a client
  Context* context = nullptr;  // what the handler has, on a server; null on a client

  // The single request; empty of a stream of them.
  const std::string& request() {
    if (read_) request_ = std::exchange(read_, nullptr)();
    return request_;
  }
  void set_request(std::string message) {
    request_ = std::move(message);
    read_ = nullptr;
  }

  // For each message that passes, also a single one. To be said before next.
  void on_request(Change change) { requests_.push_back(std::move(change)); }
  void on_answer(Change change) { answers_.push_back(std::move(change)); }

  const Metadata& headers() const { return end_->headers; }    // after next, on a client
  const Metadata& trailers() const { return end_->trailers; }  // after next; on a server those that go

  // ---- from filter to filter

  explicit FilteredCall(FilteredCall& outer)
      : metadata(outer.metadata), timeout(outer.timeout), peer(outer.peer), context(outer.context),
        method_(outer.method_), is_stream_(outer.is_stream_),
        has_request_(outer.has_request_), end_(outer.end_), outer_(&outer) {
    if (has_request_) read_ = [&outer] { return through(outer.requests_, outer.request()); };
  }

  bool has_request() const { return has_request_; }

  End& ended() { return *end_; }

  // What a message of a stream of requests goes through: the outermost filter comes first.
  std::string change_request(std::string message) const {
    return through(requests_, outer_ == nullptr ? std::move(message) : outer_->change_request(std::move(message)));
  }
  // The same of answers: the innermost filter comes first.
  std::string change_answer(std::string message) const {
    std::string changed = change_single(std::move(message));
    return outer_ == nullptr ? changed : outer_->change_answer(std::move(changed));
  }
  std::string change_single(std::string answer) const { return through(answers_, std::move(answer)); }

 private:
  static std::string through(const std::vector<Change>& changes, std::string message) {
    for (const Change& change : changes) message = change(std::move(message));
    return message;
  }

  const std::string method_;
  const bool is_stream_, has_request_;
  std::string request_;
  std::function<std::string()> read_;  // gives the request; null: it has been read
  std::vector<Change> requests_, answers_;
  std::shared_ptr<End> end_;
  FilteredCall* outer_ = nullptr;
};

// What is inside of a filter: the others, then the call itself, to its end. Returns the single answer; "" where answers
// are a stream. It may be called again, unless there is a stream.
using Next = std::function<std::string()>;

// Around calls. What it returns is the single answer; what it throws is what the call fails with. Not to call next is
// to answer without it, and a stream of answers is empty then. It may block: filters of a server run on the handler's
// thread, those of a client on that of Channel::call, and else on one of their own.
//
//   channel.filter([](nebula::FilteredCall& call, const nebula::Next& next) {
//     call.metadata.add("tenant", "a");
//     return next();
//   });
using Filter = std::function<std::string(FilteredCall& call, const Next& next)>;

namespace detail {

using Last = std::function<std::string(FilteredCall& innermost)>;

inline std::string run_filters(const std::vector<Filter>& filters, size_t at, FilteredCall& call, const Last& last,
                               bool has_answer) {
  bool is_called = false;
  auto next = [&]() -> std::string {
    if (is_called && call.is_stream())
      throw Error(NEBULA_INVALID_ARGUMENT, call.method() + ": next is called once for a stream", {}, Fate::unsent,
                  Fault::caller);
    is_called = true;
    FilteredCall inner(call);
    std::string answer = run_filters(filters, at + 1, inner, last, has_answer);
    return has_answer ? call.change_single(std::move(answer)) : std::string();
  };
  return at == filters.size() ? last(call) : filters[at](call, next);
}

// The filters of a client's stream, on a thread of their own while its user has it in hand.
class Around final : public MessageFilter, public std::enable_shared_from_this<Around> {
 public:
  // Runs them until they let the call through, or end. Null: they have ended.
  FilteredCall* begin(std::function<void(Around&)> filters) {
    std::shared_ptr<Around> self = shared_from_this();
    spawn([self, filters = std::move(filters)] {
      std::exception_ptr thrown;
      try {
        filters(*self);
      } catch (...) {
        thrown = std::current_exception();
      }
      std::lock_guard<std::mutex> hold(self->lock_);
      self->thrown_ = thrown;
      self->has_ended_ = true;
      self->changed_.notify_all();
    }).detach();
    std::unique_lock<std::mutex> hold(lock_);
    changed_.wait(hold, [this] { return innermost_ != nullptr || has_ended_; });
    return innermost_;
  }

  // For the filters: waits for the end of the stream that its user begins now, and tells how that was.
  std::string last(FilteredCall& innermost) {
    std::unique_lock<std::mutex> hold(lock_);
    innermost_ = &innermost;
    changed_.notify_all();
    changed_.wait(hold, [this] { return is_over_ && is_left_ && users_ == 0; });
    innermost.ended() = end_;
    if (refusal_) std::rethrow_exception(refusal_);
    if (error_) throw *error_;
    return {};
  }

  // The user's stream could not begin, or is over.
  void refuse(std::exception_ptr why) {
    change([&] {
      refusal_ = why;
      is_over_ = is_left_ = true;
    });
  }
  void over(const std::optional<Error>& error, const Metadata& headers, const Metadata& trailers) {
    change([&] {
      error_ = error;
      end_.headers = headers;
      end_.trailers = trailers;
      is_over_ = true;
    });
  }

  std::string outgoing(std::string message) override { return changed(&FilteredCall::change_request, message); }
  std::string incoming(std::string message) override { return changed(&FilteredCall::change_answer, message); }

  void leave() override {
    change([&] { is_left_ = true; });
  }

  bool end() override {
    std::unique_lock<std::mutex> hold(lock_);
    is_left_ = true;
    changed_.notify_all();
    changed_.wait(hold, [this] { return has_ended_; });
    if (thrown_) std::rethrow_exception(thrown_);
    return true;
  }

 private:
  void change(const std::function<void()>& how) {
    std::lock_guard<std::mutex> hold(lock_);
    how();
    changed_.notify_all();
  }

  // While this runs the filters cannot end. A message that is written when its user has left goes nowhere.
  std::string changed(std::string (FilteredCall::*how)(std::string) const, std::string& message) {
    struct Use {
      explicit Use(Around& around) : around(around) {
        around.change([this, &around] {
          is_in_time = around.innermost_ != nullptr && !around.is_left_;
          around.users_ += is_in_time;
        });
      }
      ~Use() {
        around.change([this] { around.users_ -= is_in_time; });
      }
      Around& around;
      bool is_in_time = false;
    } use(*this);
    return use.is_in_time ? (innermost_->*how)(std::move(message)) : std::move(message);
  }

  std::mutex lock_;
  std::condition_variable changed_;
  FilteredCall* innermost_ = nullptr;  // lives as long as last() runs
  FilteredCall::End end_;
  std::optional<Error> error_;
  std::exception_ptr refusal_, thrown_;
  int users_ = 0;           // of the innermost one
  bool is_over_ = false;    // the call is
  bool is_left_ = false;    // the user takes no more
  bool has_ended_ = false;  // the filters have
};

}  // namespace detail
}  // namespace v1
}  // namespace nebula

#endif
