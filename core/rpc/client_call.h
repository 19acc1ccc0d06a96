// rpc/client_call.h - one call, client side: a request becomes a stream, a stream becomes a reply.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "loop/loop.h"
#include "rpc/call.h"

namespace nebula {

// A request back for another try, with what happened to it: one that surely no server has seen (unsent, unprocessed, or
// refused); or an idempotent one that ended before any answer had begun.
using Again = Fn<void(Request request, Reply reply, Ending why)>;

// The head that the last call of a connection began with: the next one as a rule goes to the same method.
struct HeadMemo {
  std::string path, content_type;
  Encoding encoding = Encoding::identity;
  bool has_agent = false;  // ours
  Metadata head;           // empty: none yet
};

// What the owner of a session hears of the calls on it. Never the last to hear of an end, so it must not act on it
// within.
struct CallEvents {
  virtual uint32_t on_call_started() = 0;  // what it returns comes back with the rest, as `era`
  virtual void on_call_begun(uint32_t era, Duration took) = 0;  // a stream of responses; how it ends is another matter
  // took: until the answer came; nothing for what had begun. bucket: of a Histogram.
  virtual void on_call_ended(uint32_t era, Code code, Fate fate, std::optional<Duration> took, size_t bucket) = 0;
  virtual void on_load_report(std::string_view report) = 0;  // what the trailers say of it (gRFC A51)

 protected:
  ~CallEvents() = default;
};

// How calls go out. References outlive them, but for the memo.
struct ClientWay {
  Loop& loop;
  Session& session;
  std::string_view authority;  // the same wherever the memo is
  size_t message_bytes_max;
  HeadMemo* memo = nullptr;
  CallEvents* events = nullptr;  // outlives the session
};

// Sends `request` as a stream of the session and answers `reply`: where the method streams responses when they begin,
// else when the call ends. If no stream can be opened the reason comes back, and request, reply and *again are left as
// they were, for another try. Later, where the request may be tried again, *again runs instead of the reply. The
// deadline goes out as grpc-timeout; to enforce it is the caller's part, by request.context->cancel(), which ends the
// call at once and resets the stream; and so it is to tell the context the peer.
Status start_client_call(const ClientWay& way, Request& request, Reply& reply, Again* again = nullptr);

}  // namespace nebula
