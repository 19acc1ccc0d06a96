// capi/calls.h - the open calls of one loop, and the channels they go through.
//
// What bindings ask is posted here; what happens goes to the queue of each call as an event. An inline queue has one of
// its own, on the loop that it drives; each I/O thread has one for all threaded queues.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/fifo.h"
#include "base/pool.h"
#include "border.h"
#include "feed.h"
#include "handle.h"
#include "survey.h"

namespace nebula {

class Calls;

// What a binding asks of a call, on its way to the call's loop.
struct Operation : Pooled {
  enum Kind : uint8_t { start, headers, send, finish, cancel, consume, tag };

  explicit Operation(Kind kind) : kind(kind) {}

  bool ends() const { return kind == finish || kind == cancel || (kind == send && is_last); }  // a server's call

  Kind kind;
  Side side = Side::any;  // filled by submit()
  bool is_last = false;   // start, send: no further one follows
  bool wait_for_ready = false;
  bool check = false;     // start: its messages, by the service's description
  bool is_idempotent = false;
  bool compress = false;  // start, send: this message
  std::optional<Codec> codec;
  Encoding encoding = Encoding::identity;  // start: of the call
  uint64_t call = 0;
  uint64_t value = 0;     // tag: the new one; consume: bytes
  uint32_t count = 1;     // send: of messages
  std::optional<Bytes> message;  // or a Run of them
  Metadata metadata;
  Status status;
};

// What both sides have of a call.
struct CallRecord : Pooled {
  CallRecord(Calls& calls, nebula_queue* queue, Side side, uint64_t tag)
      : calls(calls), queue(queue), side(side), tag(tag) {}
  ~CallRecord();

  void on_sent(size_t bytes);       // a message of ours has left the feed
  void consume(uint64_t bytes);     // the binding has dealt with so much of what it holds

  Calls& calls;
  nebula_queue* queue;  // where its events go; null: it has gone
  const Side side;
  uint64_t id = 0;
  uint64_t tag;
  CallFacts facts;
  Reading reading;
  std::unique_ptr<Source> in;       // the peer's messages, where they are a stream
  size_t owed = 0;                  // bytes of them that the binding has, or will have by the next poll
  Fifo<uint32_t> held;              // NEBULA_HOLD: the sizes of the messages in it, or runs
  uint64_t consumed = 0;            // bytes consumed of the first of them
  Feed* out = nullptr;              // ours, where they are one; its stream's
};

// What a server knows of each of its methods.
struct ServedMethod {
  uint64_t tag;
  Reading reading;
  Encoding encoding;  // of responses with NEBULA_COMPRESS
};

struct ServerRecord : CallRecord {
  ServerRecord(Calls& calls, nebula_queue* queue, uint64_t tag);
  ~ServerRecord();

  Metadata initial;                 // from nebula_call_headers
  std::optional<Bytes> message;     // a single response without END: the trailers are still to come
  bool compress = false;            // that one
  Encoding encoding = Encoding::identity;
  std::optional<Codec> codec;
  Reply reply;                      // answered: the responses have begun
};

struct ClientRecord : CallRecord {
  ClientRecord(Calls& calls, nebula_queue* queue, uint64_t tag, std::shared_ptr<const ClientMethod> method, Time deadline)
      : CallRecord(calls, queue, Side::client, tag), method(std::move(method)), context(deadline, {}) {}

  bool wants_headers = false;
  std::shared_ptr<const ClientMethod> method;
  Context context;
};

// An event and what its pointers point to.
struct QueuedEvent {
  nebula_event event{};
  Bytes data;
  bool has_data = false;
  Metadata metadata;
  bool is_of_server = false;  // it belongs to a server's call
  Calls* calls = nullptr;     // where its call lives
};

// A turn's worth of them is kept.
using EventFifo = Fifo<QueuedEvent, 64u << 10>;

// Bytes of a message that the binding has dealt with.
struct Settled {
  Calls* calls;
  uint64_t call;
  size_t bytes;
};

// How threads that are not on the loop get something done on it at once.
class Place {
 public:
  virtual ~Place() = default;

  // Runs `work` on the loop, and returns when it has called `tell`, or after `wait_max`: whether it has.
  virtual bool perform_until(Fn<void(Fn<void()> tell)> work, Duration wait_max) = 0;

  void perform(Fn<void()> work);

  // Whether the calling thread is the one that polls the loop; and a turn of it then, that waits for nothing.
  virtual bool is_poller() const { return false; }
  virtual void relieve() {}
};

class Calls {
  template <class Record>
  using ById = std::unordered_map<uint64_t, std::unique_ptr<Record>, std::hash<uint64_t>, std::equal_to<uint64_t>,
                                  PoolAllocator<std::pair<const uint64_t, std::unique_ptr<Record>>>>;

 public:
  // All outlive it.
  Calls(nebula_engine& engine, Worker& worker, Place& place);
  ~Calls();  // on the loop, or while nobody drives it. Open calls end without an event

  Worker& worker() { return worker_; }
  Place& place() { return place_; }
  Surveys& surveys() { return surveys_; }

  // Any thread.
  void post(std::unique_ptr<Operation> operation);
  // Whether what was posted and not yet taken is so much that the caller, which is the thread that polls, had better
  // relieve() the loop.
  bool is_piled_up() const;
  void post_start(std::unique_ptr<ClientRecord> record, std::unique_ptr<Operation> operation);
  void post_forget(std::shared_ptr<const ChannelTarget> target);  // the channel is being freed

  // The loop.
  void serve(nebula_queue& queue, const ServedMethod& method, Request&& request, Reply&& reply);  // a call has come
  void settle(const std::vector<Settled>& settled);
  void drop(nebula_queue& queue);  // it is being freed
  void push(nebula_queue* queue, QueuedEvent event);
  void report(nebula_queue& queue, uint64_t tag);  // a METRICS event for it, some time
  void hand_over();  // what was pushed for threaded queues, before the turn ends

 private:
  void start(std::unique_ptr<ClientRecord> record, Operation& operation);
  Result<Service*> channel_to(const ChannelTarget& target);
  void forget(const ChannelTarget* target);
  void on_response(uint64_t id, Result<Response>&& result);
  void push_finished(ClientRecord& record, Ending& ending, std::optional<Bytes> message);

  // Each takes from the operation what it needs.
  void apply(Operation& operation);
  void apply_client(ClientRecord& record, Operation& operation);
  void apply_server(ServerRecord& record, Operation& operation);
  bool begin_responses(ServerRecord& record);
  void answer(ServerRecord& record, Operation& operation);
  void on_server_call_dead(uint64_t id, const Status& why);

  CallRecord* find(uint64_t id);
  void take(CallRecord& record);     // messages of the peer, as many as the binding may have
  void on_source_end(CallRecord& record, std::optional<QueuedEvent> last);

  nebula_engine& engine_;
  Worker& worker_;
  Place& place_;
  std::atomic<size_t> posted_bytes_{0};  // of messages that wait in the mailbox
  ById<ServerRecord> server_calls_;
  ById<ClientRecord> client_calls_;
  std::unordered_map<const ChannelTarget*, std::unique_ptr<Service>> channels_;
  std::vector<std::pair<nebula_queue*, EventFifo>> outboxes_;  // what this turn has for threaded queues
  Surveys surveys_{engine_, *this};
};

}  // namespace nebula
