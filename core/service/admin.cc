// service/admin.cc - who may ask, and what is answered.
#include "service/admin.h"

#include <unistd.h>

#include "service/admin_messages.h"

namespace nebula {

namespace {

bool is_local(const Peer& peer) {
  if (peer.address.starts_with("mem:")) return true;  // this process
  return peer.uid == 0 || peer.uid == static_cast<int64_t>(::geteuid());
}

}  // namespace

std::optional<Admin::Access> Admin::access_of(std::string_view word) {
  if (word == "off") return Access::off;
  if (word == "local") return Access::local;
  if (word == "open") return Access::open;
  return std::nullopt;
}

void Admin::call(Request request, Reply reply) {
  const Peer& peer = request.context->peer();
  if (access_ == Access::off || (access_ == Access::local && !is_local(peer)))
    return reply(Status(Code::permission_denied,
                        "nebula.v1.Admin answers its own user on its own host, by a Unix socket, and not " + peer.address +
                            ": ask at the server's unix: address, or start it with NEBULA_ADMIN=open to tell everybody"));
  AdminForm form = request.codec == Codec::json ? AdminForm::json : AdminForm::proto;
  bool is_metrics = request.method->path.ends_with("/Metrics");
  ask_([form, is_metrics, reply = std::move(reply)](MetricsSnapshot all) mutable {
    Response response;
    response.body = is_metrics ? metrics_message(all, form) : channels_message(all, form);
    reply(std::move(response));
  });
}

}  // namespace nebula
