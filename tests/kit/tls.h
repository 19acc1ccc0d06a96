// kit/tls.h - a server's files, a client's files, and handshakes between both over mem:.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kit/certs.h"
#include "kit/conns.h"
#include "transport/tls_conn.h"
#include "transport/tls_context.h"

namespace nebula::kit {

// Files of one authority, which both sides trust unless a test says otherwise.
struct TlsFolder {
  Folder folder;
  Authority authority{"Test Authority"};
  std::string ca = folder.write("ca.pem", authority.pem());

  TlsOptions serve(const Pair509& pair);  // a server with that pair
  TlsOptions serve(const CertWish& wish = {}) { return serve(authority.issue(wish)); }
  TlsOptions verify_clients(TlsOptions options) { return options.authorities = ca, options; }
  TlsOptions trust() { return {"", "", ca, ""}; }  // a client
  TlsOptions show(const Pair509& pair);            // a client with a certificate
};

// One handshake, seen from both sides. Contexts may be changed before it is run.
struct TlsPair {
  // `to`: what the client dials instead of mem:a, as fault:?inner=mem%3Aa&split=1.
  TlsPair(SimWorld& world, const TlsOptions& server, const TlsOptions& client, std::string_view to = "mem:a");
  void run(std::string name = "localhost");
  bool is_up() const { return client_status && client_status->ok() && server_status && server_status->ok(); }
  void start();  // both ends, when it is up

  std::string client_text() const { return client_status ? std::string(client_status->message()) : "no answer"; }
  std::string server_text() const { return server_status ? std::string(server_status->message()) : "no answer"; }

  SimWorld& world;
  Url to;
  TlsContext server_context, client_context;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<TlsConn> client_conn, server_conn;
  std::optional<Status> client_status, server_status;
  std::unique_ptr<End> client, server;
};

}  // namespace nebula::kit
