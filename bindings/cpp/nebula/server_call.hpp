// bindings/cpp/nebula/server_call.hpp - a call at its server: what a handler sees of it, and how it is answered.
#ifndef NEBULA_CPP_SERVER_CALL_HPP
#define NEBULA_CPP_SERVER_CALL_HPP

#include "channel.hpp"

namespace nebula {
inline namespace v1 {
namespace detail {

class ServerCall final : public Pipe {
 public:
  // The deadline counts from the event on.
  explicit ServerCall(const nebula_event& event)
      : metadata_(Metadata::unpack(event.metadata, event.metadata_size)), flags_(event.flags) {
    call_ = event.call;
    if (event.value != 0) deadline_ = Clock::now() + std::chrono::microseconds(event.value);
    if (event.data != nullptr) receive(event);
    has_ended_ = (event.flags & NEBULA_END) != 0;
  }

  uint64_t id() const { return call_; }
  const Metadata& metadata() const { return filtered_ == nullptr ? metadata_ : filtered_->metadata; }
  uint32_t flags() const { return flags_; }
  Clock::time_point deadline() const { return deadline_; }
  Metadata& trailers() { return trailers_; }

  void compress(bool on) {
    std::lock_guard<std::mutex> hold(lock_);
    compress_ = on ? NEBULA_COMPRESS : 0;
  }

  // While filters run around its handler: what that says is for them, and its messages go by way of them. None: they
  // have ended, and what is said from here on is for the caller.
  void hold_for(FilteredCall* innermost) {
    std::lock_guard<std::mutex> hold(lock_);
    filtered_ = innermost;
    filter_ = nullptr;
    held_answer_.reset();
    held_error_.reset();
    if (innermost != nullptr && innermost->is_stream()) filter_ = std::make_shared<ServedMessages>(*innermost);
  }

  // Waits for what its handler says; throws what that fails with.
  std::string take_held() {
    std::unique_lock<std::mutex> hold(lock_);
    changed_.wait(hold, [this] { return held_answer_ || held_error_ || is_over_; });
    if (held_error_) throw *held_error_;
    if (!held_answer_) throw *error_;
    return std::move(*held_answer_);
  }

  // A single request is there from the beginning.
  std::string take_request() { return filtered_ == nullptr ? take_sent_request() : filtered_->request(); }
  std::string take_sent_request() {
    std::lock_guard<std::mutex> hold(lock_);
    return inbox_.empty() ? std::string() : take();
  }

  nebula_call_info describe() const {
    nebula_call_info info{};
    info.size = sizeof info;
    nebula_call_describe(call_, &info);
    return info;
  }

  void send_headers(const Metadata& metadata) {
    std::string block = metadata.pack();
    int32_t result = nebula_call_headers(call_, block.data(), static_cast<uint32_t>(block.size()));
    if (result != NEBULA_E_STALE) check(result);
  }

  // One response, and OK.
  void answer(std::string_view message) {
    std::lock_guard<std::mutex> hold(lock_);
    if (is_over_) return;
    if (filtered_ != nullptr) return hold_answer(std::string(message));
    if (trailers_.empty()) {
      check_sent(send(message, NEBULA_END | compress_));
    } else {
      check_sent(send(message, compress_));
      finish_with(NEBULA_OK, nullptr, trailers_);
    }
    end();
  }

  // OK without a response: the end of a stream of responses.
  void finish() {
    std::lock_guard<std::mutex> hold(lock_);
    if (is_over_) return;
    if (filtered_ != nullptr) return hold_answer({});
    finish_with(NEBULA_OK, nullptr, trailers_);
    end();
  }

  void fail(const Error& error) {
    std::lock_guard<std::mutex> hold(lock_);
    if (is_over_) return;
    if (filtered_ != nullptr) {
      if (!held_answer_ && !held_error_) held_error_ = error;
      return changed_.notify_all();
    }
    // Trailers that may not travel do not keep the status from its caller.
    if (finish_with(error.code(), error.message().c_str(), error.trailers().empty() ? trailers_ : error.trailers()) ==
        NEBULA_E_ARGUMENT)
      finish_with(error.code(), error.message().c_str(), {});
    end();
  }

  void on_event(const nebula_event& event) {
    {
      std::lock_guard<std::mutex> hold(lock_);
      if (is_over_) return;
      switch (event.kind) {
        case NEBULA_EV_MESSAGE: receive(event); break;
        case NEBULA_EV_WRITABLE: is_full_ = false; break;
        case NEBULA_EV_CANCELLED:
          is_over_ = true;
          error_.emplace(event.status, text_of(event), Metadata(), Fate::unknown, Fault::caller);
          break;
        default: break;
      }
      if (event.kind == NEBULA_EV_END || (event.kind == NEBULA_EV_MESSAGE && (event.flags & NEBULA_END) != 0))
        has_ended_ = true;
    }
    changed_.notify_all();
  }

 private:
  class ServedMessages final : public MessageFilter {
   public:
    explicit ServedMessages(FilteredCall& innermost) : innermost_(innermost) {}
    std::string outgoing(std::string message) override { return innermost_.change_answer(std::move(message)); }
    std::string incoming(std::string message) override { return innermost_.change_request(std::move(message)); }

   private:
    FilteredCall& innermost_;
  };

  void hold_answer(std::string message) {
    if (!held_answer_ && !held_error_) held_answer_ = std::move(message);
    changed_.notify_all();
  }

  static void check_sent(int32_t result) {
    if (result != NEBULA_E_STALE) check(result);  // that: the call died, and there is nobody to tell
  }

  int32_t finish_with(int32_t code, const char* message, const Metadata& trailers) {
    std::string block = trailers.pack();
    return nebula_call_finish(call_, code, message, block.data(), static_cast<uint32_t>(block.size()));
  }

  // From here on there are no more events of this call; whoever still reads or writes must not wait for one.
  void end() {
    is_over_ = true;
    error_.emplace(NEBULA_FAILED_PRECONDITION, "the call has been answered");
    changed_.notify_all();
  }

  const Metadata metadata_;
  const uint32_t flags_;
  Clock::time_point deadline_ = Clock::time_point::max();
  Metadata trailers_;
  FilteredCall* filtered_ = nullptr;  // the innermost filter's; null: there are none around its handler
  std::optional<std::string> held_answer_;
  std::optional<Error> held_error_;
  uint32_t compress_ = NEBULA_COMPRESS;  // the flag of a single response
};

}  // namespace detail

// What a handler may know and say beside messages. It is a handler's second parameter, or third for streams; optional.
class Context {
 public:
  explicit Context(detail::ServerCall& call) : call_(call) {}

  const Metadata& metadata() const { return call_.metadata(); }
  bool is_json() const { return (call_.flags() & NEBULA_JSON) != 0; }  // the request came as application/grpc+json
  std::string method() const { return call_.describe().method; }
  std::string peer() const { return call_.describe().peer; }
  bool is_cancelled() const { return call_.is_over(); }                // nobody waits for the answer any more

  // steady_clock's time_point::max() without a deadline. Calls made by this handler, on its thread, inherit it.
  std::chrono::steady_clock::time_point deadline() const { return call_.deadline(); }

  // Metadata before the response; once. A method that streams responses sends it at once.
  void send_headers(const Metadata& metadata) { call_.send_headers(metadata); }
  // Whether a single response is compressed, where the server has a compression; those of a stream: Writer::write.
  void compress(bool on) { call_.compress(on); }
  void add_trailer(std::string name, std::string value) { call_.trailers().add(std::move(name), std::move(value)); }

 private:
  detail::ServerCall& call_;
};

// The answer that a handler of Server::async owes: now or later, from any thread, once. Dropped, it says INTERNAL.
template <class Out>
class Answer {
 public:
  explicit Answer(std::shared_ptr<detail::ServerCall> call) : call_(std::move(call)) {}
  Answer(Answer&&) = default;
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() {
    if (call_ != nullptr && !is_given_) call_->fail(Error(NEBULA_INTERNAL, "the handler gave no answer"));
  }

  void operator()(const Out& response) {
    auto message = detail::encode(response);
    is_given_ = true;  // first: filters may have what they wait for before this returns
    try {
      call_->answer(message);
    } catch (...) {
      is_given_ = false;
      throw;
    }
  }
  void fail(const Error& error) {
    is_given_ = true;
    call_->fail(error);
  }
  Context context() { return Context(*call_); }

 private:
  std::shared_ptr<detail::ServerCall> call_;
  bool is_given_ = false;
};

}  // namespace v1
}  // namespace nebula

#endif
