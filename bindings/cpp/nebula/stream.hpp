// bindings/cpp/nebula/stream.hpp - the messages of one call, between the engine's thread and the threads of the user.
#ifndef NEBULA_CPP_STREAM_HPP
#define NEBULA_CPP_STREAM_HPP

#include <condition_variable>
#include <deque>
#include <iterator>
#include <optional>

#include "codec.hpp"
#include "engine.hpp"

namespace nebula {
inline namespace v1 {
namespace detail {

// What filters do to the messages of a stream, and to its end.
class MessageFilter {
 public:
  virtual ~MessageFilter() = default;
  virtual std::string outgoing(std::string message) = 0;
  virtual std::string incoming(std::string message) = 0;
  virtual void leave() {}               // the user takes no more
  virtual bool end() { return false; }  // waits for the end of filters, and throws what they do; false: they run on
};

// Both sides have one. The inbox is bounded by the engine (NEBULA_HOLD): what is not read is not taken from the peer.
class Pipe {
 public:
  virtual ~Pipe() = default;

  // Waits while the peer is slow. False: the call has ended well, and nobody wants more. Throws how it ended otherwise.
  bool write(std::string_view bytes, bool compress) {
    Loop::check_may_block();
    std::string changed_bytes;
    if (filter_ != nullptr) bytes = changed_bytes = filter_->outgoing(std::string(bytes));
    std::unique_lock<std::mutex> hold(lock_);
    changed_.wait(hold, [this] { return !is_full_ || is_over_; });
    if (!is_over_) {
      int32_t result = send(bytes, compress ? NEBULA_COMPRESS : 0);
      is_full_ = result == NEBULA_FULL;  // WRITABLE takes the lock, so it cannot have come before this
      if (result >= 0) return true;
      if (result != NEBULA_E_STALE) check(result);
      changed_.wait(hold, [this] { return is_over_; });  // its last event is on its way
    }
    if (filter_ != nullptr && filtered_end(hold)) return false;
    if (error_) throw *error_;
    return false;
  }

  // The next message; none: the peer has ended its stream. Throws how the call ended if it ended badly.
  std::optional<std::string> read() {
    Loop::check_may_block();
    std::unique_lock<std::mutex> hold(lock_);
    changed_.wait(hold, [this] { return !inbox_.empty() || has_ended_ || is_over_; });
    if (inbox_.empty()) {
      if (filter_ != nullptr && filtered_end(hold)) return std::nullopt;
      if (is_over_ && error_) throw *error_;
      return std::nullopt;
    }
    std::string message = take();
    if (filter_ == nullptr) return message;
    hold.unlock();
    return filter_->incoming(std::move(message));
  }

  bool is_over() const {
    std::lock_guard<std::mutex> hold(lock_);
    return is_over_;
  }

 protected:
  static constexpr size_t consume_bytes = 32 << 10;  // room is given back in such portions, and when all is read

  // Whether they had a say in it: at its caller the end of what comes is that of the call.
  bool filtered_end(std::unique_lock<std::mutex>& hold) {
    hold.unlock();
    bool has_ended = filter_->end();
    hold.lock();
    return has_ended;
  }

  // With the lock held.
  int32_t send(std::string_view bytes, uint32_t flags) {
    if (bytes.size() > UINT32_MAX) throw Error(NEBULA_RESOURCE_EXHAUSTED, "a message has 4 GiB at most");
    return nebula_call_send(call_, bytes.empty() ? "" : bytes.data(), static_cast<uint32_t>(bytes.size()), flags);
  }

  std::string take() {
    std::string message = std::move(inbox_.front());
    inbox_.pop_front();
    taken_ += message.size();
    if (inbox_.empty() || taken_ >= consume_bytes) {  // also of empty messages, which cost the engine something too
      nebula_call_consume(call_, taken_);
      taken_ = 0;
    }
    return message;
  }

  void receive(const nebula_event& event) {
    inbox_.emplace_back(reinterpret_cast<const char*>(event.data), event.size);
  }

  static std::string text_of(const nebula_event& event) {
    return event.data == nullptr ? "" : std::string(reinterpret_cast<const char*>(event.data), event.size);
  }

  std::shared_ptr<MessageFilter> filter_;  // null: there are no filters
  mutable std::mutex lock_;
  std::condition_variable changed_;
  uint64_t call_ = 0;
  std::deque<std::string> inbox_;
  size_t taken_ = 0;         // bytes read and not yet given back
  bool is_full_ = false;     // the engine asked to wait for WRITABLE
  bool has_ended_ = false;   // the peer's stream has
  bool is_over_ = false;     // the call is
  std::optional<Error> error_;
};

}  // namespace detail

// The messages that come. Either read() until it returns none, or `for (T& message : reader)`.
template <class T>
class Reader {
 public:
  explicit Reader(detail::Pipe& pipe, int32_t decode_error) : in_(&pipe), decode_error_(decode_error) {}

  std::optional<T> read() {
    std::optional<std::string> bytes = in_->read();
    if (!bytes) return std::nullopt;
    return detail::decode<T>(std::move(*bytes), decode_error_);
  }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;

    explicit Iterator(Reader* reader) : reader_(reader) { ++*this; }
    T& operator*() { return *message_; }
    Iterator& operator++() {
      if (reader_ != nullptr && !(message_ = reader_->read())) reader_ = nullptr;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return reader_ != other.reader_; }

   private:
    Reader* reader_;
    std::optional<T> message_;
  };
  Iterator begin() { return Iterator(this); }
  Iterator end() { return Iterator(nullptr); }

 private:
  detail::Pipe* in_;
  int32_t decode_error_;  // whose fault a message is that is no T
};

// The messages that go.
template <class T>
class Writer {
 public:
  explicit Writer(detail::Pipe& pipe) : out_(&pipe) {}

  // Waits while the peer is slow. False: the call has ended well, and nobody wants more. Throws Error if it has failed.
  // compress: false leaves this message as it is where the call has a compression.
  bool write(const T& message, bool compress = true) { return out_->write(detail::encode(message), compress); }

 private:
  detail::Pipe* out_;
};

// Both, as the handler of a bidirectional method has them.
template <class In, class Out>
class Stream : public Reader<In>, public Writer<Out> {
 public:
  Stream(detail::Pipe& pipe, int32_t decode_error) : Reader<In>(pipe, decode_error), Writer<Out>(pipe) {}
};

}  // namespace v1
}  // namespace nebula

#endif
