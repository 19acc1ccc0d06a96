// rpc/call.h - one call, client or server, unary or streaming.
//
// Messages are bytes here: types and their codecs belong to the bindings (house.md 4). All of it lives on one loop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/done.h"
#include "base/metadata.h"
#include "base/metrics.h"
#include "base/time.h"
#include "http2/stream.h"
#include "loop/loop.h"
#include "rpc/compress.h"
#include "rpc/run.h"
#include "transport/transport.h"

namespace nebula {

class Service;
class NestedRetries;

// How a call ended.
struct Ending {
  Status status;
  Metadata trailers = {};
  Fate fate = Fate::processed;
};

// A stream of messages, pulled by whoever wants them. To drop it before its end is to say that the rest is not wanted.
class Source {
 public:
  enum class Next : uint8_t { message, later, end };

  virtual ~Source() = default;

  // message: here it is. later: none yet, and on_ready follows. end: there will be none, and ending() tells more.
  Next next(Bytes* message) {
    Next next = take(message);
    is_awaited_ = next == Next::later;
    return next;
  }

  // The same of as many messages as there are together.
  Next next_run(Run* run) {
    Next next = take_run(run);
    is_awaited_ = next == Next::later;
    return next;
  }

  virtual Ending& ending() = 0;

  // Back to its first message, for another try. False: what was taken is gone.
  virtual bool rewind() { return false; }
  // There will be no other try: what was taken need not be kept.
  virtual void commit() {}

  // Of what was given last: it is to be compressed, where the call has an encoding.
  bool wants_compression() const { return wants_compression_; }

  // It has ended before its time: what was not taken is gone, and next() gives the end.
  bool is_cut() const { return is_cut_; }

  // `then` runs when it is worth asking again, once after each `later`; and when the source is cut, for who is not asking
  // just now must hear of that too. Never inside next(). It may destroy the source, as its last act.
  void on_ready(Fn<void()> then) { then_ = std::move(then); }

 protected:
  virtual Next take(Bytes* message) = 0;
  virtual Next take_run(Run* run) {
    run->count = 1;
    return take(&run->bytes);
  }
  void want_compression(bool on) { wants_compression_ = on; }

  // There is more, or the end. The last thing that its caller does with the source.
  void ready() {
    if (std::exchange(is_awaited_, false) && then_) then_();
  }

  // The rest is gone. The last thing, as well.
  void cut() {
    is_cut_ = is_awaited_ = true;
    ready();
  }

 private:
  Fn<void()> then_;
  bool is_awaited_ = false, is_cut_ = false, wants_compression_ = false;
};

// None, one, many.
using Body = std::variant<std::monostate, Bytes, std::unique_ptr<Source>>;

// How many messages go each way.
enum class Shape : uint8_t { unary = 0, client_stream = 1, server_stream = 2, bidi = 3 };
constexpr bool streams_requests(Shape shape) { return shape == Shape::client_stream || shape == Shape::bidi; }
constexpr bool streams_responses(Shape shape) { return shape == Shape::server_stream || shape == Shape::bidi; }

// How the messages of a call are encoded: the "+proto" or "+json" of the content-type. `any` is plain
// application/grpc, the method's own codec; another name travels as metadata "content-type".
enum class Codec : uint8_t { any, proto, json };

struct Method {
  std::string path;            // "/shop.v1.Cart/Add"
  bool idempotent = false;
  Service* service = nullptr;  // server: who answers
  Shape shape = Shape::unary;
};

// How many more tries there may be, at most limits::tries_max. Two bytes: with them the flags of a Request are eight, which
// move as one.
using RetriesLeft = uint16_t;
inline constexpr RetriesLeft any_retries = 0xffff;  // nobody has said

// Holds it, as others do; the last one destroys it.
struct NestedDrop {
  void operator()(NestedRetries* held) const;
};
using NestedShare = std::unique_ptr<NestedRetries, NestedDrop>;

// Travels with a call from hand to hand, and tells all of them when nobody waits for the answer any more.
class Context {
 public:
  Context(Time deadline, std::shared_ptr<const Peer> peer) : deadline_(deadline), peer_(std::move(peer)) {}

  Time deadline() const { return deadline_; }
  void set_deadline(Time deadline) { deadline_ = deadline; }
  const Peer& peer() const { return *peer_; }
  const std::shared_ptr<const Peer>& shared_peer() const { return peer_; }
  void set_peer(std::shared_ptr<const Peer> peer) { peer_ = std::move(peer); }

  // Cancels with deadline_exceeded when the deadline comes.
  void keep_deadline(Clock& clock);

  // The caller gave up, the peer left, the deadline passed. The first reason counts; later ones are dropped.
  void cancel(Status why);
  bool is_cancelled() const { return !why_.ok(); }

  // Runs once, when cancelled; at once if it already is. The last one given counts.
  void on_cancel(Fn<void(const Status& why)> then);

  // Server: how often the caller may still try this call again.
  RetriesLeft retries_left() const { return retries_left_; }
  void set_retries_left(RetriesLeft left) { retries_left_ = left; }

  // Server: what calls share that are made for this one; client: what this one shares. Null: there was no such call, or it
  // is made for none.
  NestedRetries* nested() const { return nested_.get(); }
  void set_nested(NestedShare nested) { nested_ = std::move(nested); }

  // Client: it had more than one try, by policy.
  bool was_retried() const { return was_retried_; }
  void set_retried() { was_retried_ = true; }

  // Client: among which it is counted, from now on until its end. Null: not, or no longer.
  void count_among(ClientMetrics& counts, Time now) {
    counts_ = &counts;
    began_ = now;
    counts.calls++;
  }
  ClientMetrics* counts() const { return counts_; }
  void count_end(Code code, Time now);  // once
  void count_attempt(Code code, size_t bucket, Duration took, Time began, bool is_last);

 private:
  Time deadline_;
  std::shared_ptr<const Peer> peer_;  // that of its connection
  Status why_;
  Fn<void(const Status&)> then_;
  std::unique_ptr<Timer> timer_;
  ClientMetrics* counts_ = nullptr;
  Time began_;
  NestedShare nested_;
  RetriesLeft retries_left_ = any_retries;
  bool was_retried_ = false;
};

// What has become of the earlier tries of a call.
struct Tries {
  std::vector<uint64_t> nodes;  // the numbers of those on which it failed, in their order
};

struct Request {
  const Method* method;
  Context* context;  // outlives the Reply, and the Source that it may bring
  Metadata metadata;
  Body body;         // a Source where the method streams requests; else one message
  Codec codec = Codec::any;
  Encoding encoding = Encoding::identity;  // client: of its message, or of those that its Source wants compressed
  bool wait_for_ready = false;  // client: wait for a node until the deadline instead of failing fast
  bool check = false;           // client: first look whether its JSON is what the service's description says
  bool is_idempotent = false;   // client: to be executed twice does no harm, so what has failed may be tried again
  bool was_left_out = false;    // client: a connection ended without having looked at it, so this is its second try
  RetriesLeft retries_left = any_retries;  // client: how many tries may follow this one
  std::unique_ptr<Tries> tries = {};  // client: null: none has failed
};

// A failed call is a Response too, since an error may carry trailers and the fate of its request. Where the body is a
// Source, the Source knows the ending.
struct Response : Ending {
  Metadata metadata = {};  // initial
  Body body = {};
  std::optional<Codec> codec = {};  // none: the request's
  Encoding encoding = Encoding::identity;  // as with a request, but a caller that does not accept it gets another, or none
};

// Whose fault it is that a call failed.
enum class Fault : uint8_t {
  none,
  caller,    // what it asked for, or how; or it gave up
  network,   // nobody could be reached, or the way was lost
  callee,    // it failed, or did not answer in time
  overload,  // there was too much to do
};
Fault fault_of(Code code, Fate fate);

// Answered exactly once, never lost.
using Reply = Done<Response>;

}  // namespace nebula
