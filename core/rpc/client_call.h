// rpc/client_call.h - one call, client side: a request becomes a stream, a stream becomes a reply.
#pragma once

#include <string_view>

#include "loop/loop.h"
#include "rpc/call.h"

namespace nebula {

// Sends `request` as a stream of `session` and answers `reply` when it ends. If no stream can be opened the reason
// comes back and request and reply are left as they were, for another try. The deadline goes out as grpc-timeout; to
// enforce it is the caller's part, by request.context->cancel(), which ends the call at once and resets the stream.
Status start_client_call(Loop& loop, Session& session, std::string_view authority, size_t message_bytes_max,
                         Request& request, Reply& reply);

}  // namespace nebula
