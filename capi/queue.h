// capi/queue.h - what stands behind nebula_queue: a loop, its open calls, and the events that nobody has taken yet.
//
// Three kinds of access. The driver (whoever has the driver lock of `loop`: nebula_poll, set-up on another thread, the
// housekeeper) may touch everything but what was lent to the poller. Any thread may post. Nobody else touches anything.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "border.h"
#include "feed.h"
#include "handle.h"

namespace nebula {

// What a binding asks of a call, on its way to the call's loop.
struct Operation {
  enum Kind : uint8_t { start, headers, send, finish, cancel, consume, tag };

  explicit Operation(Kind kind) : kind(kind) {}

  bool ends() const { return kind == finish || kind == cancel || (kind == send && is_last); }  // a server's call

  Kind kind;
  Side side = Side::any;  // filled by submit()
  bool is_last = false;   // start, send: no further one follows
  bool wait_for_ready = false;
  bool compress = false;  // start, send: this message
  std::optional<Codec> codec;
  Encoding encoding = Encoding::identity;  // start: of the call
  uint64_t call = 0;
  uint64_t value = 0;     // tag: the new one; consume: bytes
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
  bool is_of_server = false;  // it belongs to a server's call
};

// What both sides have of a call.
struct CallRecord {
  CallRecord(nebula_queue* queue, Side side, uint64_t tag) : queue(queue), side(side), tag(tag) {}
  ~CallRecord();

  void on_sent(size_t bytes);       // a message of ours has left the feed
  void consume(uint64_t bytes);     // the binding has dealt with so much of what it holds

  nebula_queue* const queue;
  const Side side;
  uint64_t id = 0;
  uint64_t tag;
  CallFacts facts;
  bool holds = false;               // NEBULA_HOLD
  std::unique_ptr<Source> in;       // the peer's messages, where they are a stream
  size_t owed = 0;                  // bytes of them that the binding has, or will have by the next poll
  std::deque<uint32_t> held;        // NEBULA_HOLD: the sizes of the messages in it
  uint64_t consumed = 0;            // bytes consumed of the first of them
  Feed* out = nullptr;              // ours, where they are one; its stream's
};

// What a server knows of each of its methods.
struct ServedMethod {
  uint64_t tag;
  bool holds;         // NEBULA_HOLD
  Encoding encoding;  // of responses with NEBULA_COMPRESS
};

struct ServerRecord : CallRecord {
  using CallRecord::CallRecord;

  Context* context = nullptr;
  Metadata initial;                 // from nebula_call_headers
  std::optional<Bytes> message;     // a single response without END: the trailers are still to come
  bool compress = false;            // that one
  Encoding encoding = Encoding::identity;
  std::optional<Codec> codec;
  Reply reply;                      // answered: the responses have begun
};

struct ClientRecord : CallRecord {
  ClientRecord(nebula_queue* queue, uint64_t tag, std::shared_ptr<const ClientMethod> method, Time deadline)
      : CallRecord(queue, Side::client, tag), method(std::move(method)), context(deadline, {}) {}

  bool wants_headers = false;
  std::shared_ptr<const ClientMethod> method;
  Context context;
};

}  // namespace nebula

struct nebula_queue {
  nebula_queue(nebula_engine* engine, const nebula_queue_options& options, std::unique_ptr<nebula::Worker> worker,
               nebula::Housekeeper* housekeeper);
  ~nebula_queue();

  // Any thread.
  void post(nebula::Operation operation);
  void post_start(std::unique_ptr<nebula::ClientRecord> record, nebula::Operation operation);
  void post_event(nebula_event event);
  // Whether what was posted since the last poll is so much that the caller, which is the thread that polls, had better
  // relieve() the queue: by a turn of the loop.
  bool is_piled_up() const;
  void relieve();
  void post_forget(std::shared_ptr<const nebula::ChannelTarget> target);  // the channel is being freed

  // The driver.
  int32_t poll(int32_t timeout_ms);
  void serve(const nebula::ServedMethod& method, nebula::Request request, nebula::Reply reply);  // a call has come
  void push(nebula::QueuedEvent event);
  uint32_t stride() const { return stride_; }

  nebula_engine* const engine;
  const std::unique_ptr<nebula::Worker> worker;
  std::unique_ptr<nebula::KeptLoop> loop;  // the worker's
  std::vector<char> array;  // what nebula_queue_events hands out

 private:
  void start(std::unique_ptr<nebula::ClientRecord> record, nebula::Operation operation);
  nebula::Result<nebula::Service*> channel_to(const nebula::ChannelTarget& target);
  void forget(const nebula::ChannelTarget* target);
  void on_response(uint64_t id, nebula::Result<nebula::Response> result);
  void push_finished(nebula::ClientRecord& record, nebula::Ending& ending, std::optional<nebula::Bytes> message);

  void apply(nebula::Operation operation);
  void apply_client(nebula::ClientRecord& record, nebula::Operation operation);
  void apply_server(nebula::ServerRecord& record, nebula::Operation operation);
  bool begin_responses(nebula::ServerRecord& record);
  void answer(nebula::ServerRecord& record, nebula::Operation operation);
  void on_server_call_dead(uint64_t id, const nebula::Status& why);

  nebula::CallRecord* find(uint64_t id);
  void take(nebula::CallRecord& record);     // messages of the peer, as many as the binding may have
  void on_source_end(nebula::CallRecord& record, bool has_message);
  void settle_lent();                        // the binding has dealt with what the last poll gave it
  bool is_over(const nebula::QueuedEvent& queued) const;
  int32_t deliver();

  const uint32_t stride_;
  const uint32_t batch_;
  const size_t capacity_;

  std::atomic<size_t> posted_bytes_{0};  // of messages that wait in the mailbox

  std::deque<nebula::QueuedEvent> events_;
  std::vector<nebula::QueuedEvent> lent_;  // what the array points into, until the next poll
  std::unordered_map<uint64_t, std::unique_ptr<nebula::ServerRecord>> server_calls_;
  std::unordered_map<uint64_t, std::unique_ptr<nebula::ClientRecord>> client_calls_;
  std::unordered_map<const nebula::ChannelTarget*, std::unique_ptr<nebula::Service>> channels_;
};
