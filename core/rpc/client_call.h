// rpc/client_call.h - one call, client side: a request becomes a stream, a stream becomes a reply.
#pragma once

#include <string_view>

#include "loop/loop.h"
#include "rpc/call.h"

namespace nebula {

// A request that surely no server has seen, back for another try, with what happened to it: unsent, unprocessed, or
// refused.
using Again = Fn<void(Request request, Reply reply, Ending why)>;

// Sends `request` as a stream of `session` and answers `reply`: where the method streams responses when they begin, else
// when the call ends. If no stream can be opened the reason comes back, and request, reply and *again are left as they
// were, for another try. Later, where the request was not sent or not processed, *again runs instead of the reply. The
// deadline goes out as grpc-timeout; to enforce it is the caller's part, by request.context->cancel(), which ends the
// call at once and resets the stream; and so it is to tell the context the peer.
Status start_client_call(Loop& loop, Session& session, std::string_view authority, size_t message_bytes_max,
                         Request& request, Reply& reply, Again* again = nullptr);

}  // namespace nebula
