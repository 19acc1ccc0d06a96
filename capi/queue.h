// capi/queue.h - what stands behind nebula_queue: a loop, its open calls, and the events that nobody has taken yet.
//
// Three kinds of access. The driver (whoever holds driver_lock: nebula_poll, and set-up on another thread) may touch
// everything. Any thread may post. Nobody else touches anything.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "border.h"
#include "handle.h"

namespace nebula {

// What a binding asks of a call, on its way to the call's loop.
struct Operation {
  enum Kind : uint8_t { start, headers, hold, answer, cancel, tag };

  explicit Operation(Kind kind) : kind(kind) {}

  Kind kind;
  Side side = Side::any;  // filled by submit()
  bool wait_for_ready = false;
  bool wants_headers = false;
  std::optional<Codec> codec;
  uint64_t call = 0;
  uint64_t value = 0;     // tag: the new one
  std::optional<Bytes> message;
  Metadata metadata;
  Status status;
};

// An event and what its pointers point to.
struct QueuedEvent {
  nebula_event event{};
  Bytes data;
  bool has_data = false;
  Metadata metadata;
};

struct ServerRecord {
  uint64_t tag;
  CallFacts facts;
  Context* context;
  Metadata initial;               // from nebula_call_headers
  std::optional<Bytes> message;   // from nebula_call_send without END: the trailers are still to come
  std::optional<Codec> codec;
  Reply reply;
};

struct ClientRecord {
  uint64_t tag;
  bool wants_headers;
  CallFacts facts;
  std::shared_ptr<const ClientMethod> method;
  Context context;
};

}  // namespace nebula

struct nebula_queue {
  // `setup` on another thread than the poller's: ends a poll that waits, and keeps others off, while it lives.
  class Driver {
   public:
    explicit Driver(nebula_queue& queue);
    ~Driver();

   private:
    nebula_queue& queue_;
  };

  nebula_queue(nebula_engine* engine, const nebula_queue_options& options, std::unique_ptr<nebula::Worker> worker);
  ~nebula_queue();

  // Any thread.
  void post(nebula::Operation operation);
  void post_start(uint64_t id, std::unique_ptr<nebula::ClientRecord> record, nebula::Operation operation);
  void post_event(nebula_event event);
  void post_forget(std::shared_ptr<const nebula::ChannelTarget> target);  // the channel is being freed

  // The driver.
  int32_t poll(int32_t timeout_ms);
  void serve(uint64_t tag, nebula::Request request, nebula::Reply reply);  // a call has come from a client
  void push(nebula::QueuedEvent event);
  uint32_t stride() const { return stride_; }

  nebula_engine* const engine;
  const std::unique_ptr<nebula::Worker> worker;
  std::vector<char> array;  // what nebula_queue_events hands out

 private:
  void start(uint64_t id, std::unique_ptr<nebula::ClientRecord> record, nebula::Operation operation);
  void apply(nebula::Operation operation);
  void hold(nebula::ServerRecord& record, nebula::Operation operation);
  void answer(nebula::Operation operation);
  void on_response(uint64_t id, nebula::Result<nebula::Response> result);
  void on_server_call_dead(uint64_t id, const nebula::Status& why);
  void forget(const nebula::ChannelTarget* target);
  nebula::Result<nebula::Service*> channel_to(const nebula::ChannelTarget& target);
  int32_t deliver();

  const uint32_t stride_;
  const uint32_t batch_;
  const size_t capacity_;

  std::mutex driver_lock_;
  std::condition_variable setup_over_;
  std::atomic<int> setups_{0};  // that wait for their turn or are under way; poll lets them go first
  std::atomic<bool> in_poll_{false};

  std::deque<nebula::QueuedEvent> events_;
  std::vector<nebula::QueuedEvent> lent_;  // what the array points into, until the next poll
  std::unordered_map<uint64_t, std::unique_ptr<nebula::ServerRecord>> server_calls_;
  std::unordered_map<uint64_t, std::unique_ptr<nebula::ClientRecord>> client_calls_;
  std::unordered_map<const nebula::ChannelTarget*, std::unique_ptr<nebula::Service>> channels_;
};
