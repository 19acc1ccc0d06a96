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
#include "base/time.h"
#include "http2/stream.h"
#include "loop/loop.h"
#include "transport/transport.h"

namespace nebula {

class Service;

// A stream of messages, pulled.
class Source {
 public:
  virtual ~Source() = default;
  virtual void read(Done<std::optional<Bytes>> done) = 0;  // nothing: a clean end; an error: the final status
  virtual Metadata trailers() { return {}; }               // valid after the end
};

// None, one, many.
using Body = std::variant<std::monostate, Bytes, std::unique_ptr<Source>>;

// How the messages of a call are encoded: the "+proto" or "+json" of the content-type. `any` is plain
// application/grpc, the method's own codec; another name travels as metadata "content-type".
enum class Codec : uint8_t { any, proto, json };

struct Method {
  std::string path;            // "/shop.v1.Cart/Add"
  bool idempotent = false;
  Service* service = nullptr;  // server: who answers
};

// Travels with a call from hand to hand, and tells all of them when nobody waits for the answer any more.
class Context {
 public:
  Context(Time deadline, Peer peer) : deadline_(deadline), peer_(std::move(peer)) {}

  Time deadline() const { return deadline_; }
  void set_deadline(Time deadline) { deadline_ = deadline; }
  const Peer& peer() const { return peer_; }
  void set_peer(Peer peer) { peer_ = std::move(peer); }

  // Cancels with deadline_exceeded when the deadline comes.
  void keep_deadline(Clock& clock);

  // The caller gave up, the peer left, the deadline passed. The first reason counts; later ones are dropped.
  void cancel(Status why);
  bool is_cancelled() const { return !why_.ok(); }

  // Runs once, when cancelled; at once if it already is. The last one given counts.
  void on_cancel(Fn<void(const Status& why)> then);

 private:
  Time deadline_;
  Peer peer_;
  Status why_;
  Fn<void(const Status&)> then_;
  std::unique_ptr<Timer> timer_;
};

struct Request {
  const Method* method;
  Context* context;  // outlives the Reply
  Metadata metadata;
  Body body;
  Codec codec = Codec::any;
  bool wait_for_ready = false;  // client: wait for a node until the deadline instead of failing fast
};

// A failed call is a Response too, since an error may carry trailers and the fate of its request.
struct Response {
  Metadata metadata;  // initial
  Body body;
  Metadata trailers;
  Status status;
  std::optional<Codec> codec = {};  // none: the request's
  Fate fate = Fate::processed;
};

// Answered exactly once, never lost.
using Reply = Done<Response>;

}  // namespace nebula
