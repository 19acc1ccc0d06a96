// kit/streams.cc - setting up a wire.
#include "kit/streams.h"

namespace nebula::kit {

Wire::Wire(Raw who, const Url& at, const SessionOptions& options) {
  auto on_conn = [this, who, options](std::unique_ptr<Conn> conn) {
    if (who == Raw::server)
      raw = std::make_unique<End>(std::move(conn));
    else
      server.start(world.loop, std::move(conn), true, options);
  };
  Result<std::unique_ptr<Listener>> listener = world.network.listen(at, std::move(on_conn));
  NEBULA_ASSERT(listener.ok());
  listener_ = std::move(*listener);
  world.network.dial(at, [this, who, options](Result<std::unique_ptr<Conn>> conn) {
    NEBULA_ASSERT(conn.ok());
    if (who == Raw::client)
      raw = std::make_unique<End>(std::move(*conn));
    else
      client.start(world.loop, std::move(*conn), false, options);
  });
  settle();
}

Metadata fields(std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
  Metadata fields;
  for (const auto& [name, value] : list) fields.add(name, value);
  return fields;
}

Metadata request_head(std::string_view path) {
  return fields({{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "hello"}, {"te", "trailers"},
                 {"content-type", "application/grpc"}});
}

Metadata response_head() { return fields({{":status", "200"}, {"content-type", "application/grpc"}}); }

}  // namespace nebula::kit
