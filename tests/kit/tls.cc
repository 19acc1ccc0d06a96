// kit/tls.cc - handshakes in virtual time.
#include "kit/tls.h"

namespace nebula::kit {

TlsOptions TlsFolder::serve(const Pair509& pair) {
  return {folder.write("server.pem", pair.certificate), folder.write("server.key", pair.key), "", ""};
}

TlsOptions TlsFolder::show(const Pair509& pair) {
  return {folder.write("client.pem", pair.certificate), folder.write("client.key", pair.key), ca, ""};
}

namespace {

TlsContext made(const TlsOptions& options, TlsSide side) {
  Result<TlsContext> context = make_tls_context(options, side);
  NEBULA_ASSERT(context.ok());
  return std::move(*context);
}

}  // namespace

TlsPair::TlsPair(SimWorld& world, const TlsOptions& server, const TlsOptions& client, std::string_view to)
    : world(world),
      to(url(to)),
      server_context(made(server, TlsSide::server)),
      client_context(made(client, TlsSide::client)) {}

void TlsPair::run(std::string name) {
  Result<std::unique_ptr<Listener>> made = world.network.listen(url("mem:a"), [this](std::unique_ptr<Conn> conn) {
    server_conn = std::make_unique<TlsConn>(world.loop, *server_context, TlsSide::server, "", std::move(conn));
    server_conn->handshake([this](Status status) {
      if (!status.ok()) server_conn.reset();
      server_status = std::move(status);
    });
  });
  NEBULA_ASSERT(made.ok());
  listener = std::move(*made);
  world.network.dial(to, [this, name = std::move(name)](Result<std::unique_ptr<Conn>> conn) {
    NEBULA_ASSERT(conn.ok());
    client_conn = std::make_unique<TlsConn>(world.loop, *client_context, TlsSide::client, name, std::move(*conn));
    client_conn->handshake([this](Status status) {
      if (!status.ok()) client_conn.reset();
      client_status = std::move(status);
    });
  });
  NEBULA_ASSERT(world.loop.run_until_idle(100'000));
}

void TlsPair::start() {
  if (client_conn != nullptr) client = std::make_unique<End>(std::move(client_conn));
  if (server_conn != nullptr) server = std::make_unique<End>(std::move(server_conn));
}

}  // namespace nebula::kit
