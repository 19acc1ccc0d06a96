// unit/transport/tls_refusal_test.cc - who is refused, and in which words, on both sides.
#include <criterion/criterion.h>
#include <openssl/ssl.h>

#include "base/limits.h"
#include "kit/tls.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

#define HAS(text, part) cr_assert(has(text, part), "\"%s\" should say \"%s\"", (text).c_str(), part)

constexpr int64_t day_s = 86'400;

// The words of a client, which does not like the server's certificate.
std::string refusal_of_server(TlsFolder& files, const Pair509& server, std::string name = "localhost",
                              std::string_view server_hears = "the client") {
  SimWorld world;
  TlsPair pair(world, files.serve(server), files.trust());
  pair.run(std::move(name));
  cr_assert(pair.client_status && !pair.client_status->ok());
  cr_assert_eq(pair.client_status->code(), Code::unavailable);
  cr_assert(pair.server_status && !pair.server_status->ok(), "the server is told");
  HAS(pair.server_text(), std::string(server_hears).c_str());
  return pair.client_text();
}

// What the client hears when its certificate is refused: from TLS 1.3 on its own handshake is over by then.
std::string heard_by_client(TlsPair& pair) {
  if (!pair.client_status->ok()) return pair.client_text();
  pair.start();
  cr_assert(pair.world.loop.run_until_idle(1000));
  cr_assert(pair.client->closed.has_value());
  return std::string(pair.client->closed->message());
}

struct Heard {
  std::string client, server;
};

Heard refusal_of_client(TlsFolder& files, const TlsOptions& client, int version_max = 0) {
  SimWorld world;
  TlsPair pair(world, files.verify_clients(files.serve()), client);
  if (version_max != 0) SSL_CTX_set_max_proto_version(pair.client_context.get(), version_max);
  pair.run();
  cr_assert(pair.server_status && !pair.server_status->ok());
  std::string server = pair.server_text();
  return {heard_by_client(pair), server};
}

std::string date(int64_t in_s) {
  std::time_t when = std::time(nullptr) + in_s;
  char out[16];
  std::strftime(out, sizeof out, "%Y-%m-%d", std::gmtime(&when));
  return out;
}

// What a server says of a client that sends just this, and whether it was closed.
std::string refusal_of_bytes(std::string_view bytes) {
  TlsFolder files;
  SimWorld world;
  TlsPair pair(world, files.serve(), files.trust());
  std::unique_ptr<End> raw;
  std::optional<Status> status;
  std::unique_ptr<TlsConn> server;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(url("mem:b"), [&](std::unique_ptr<Conn> conn) {
    server = std::make_unique<TlsConn>(world.loop, *pair.server_context, TlsSide::server, "", std::move(conn));
    server->handshake([&](Status why) {
      status = std::move(why);
      server.reset();
    });
  });
  world.network.dial(url("mem:b"), [&](Result<std::unique_ptr<Conn>> conn) {
    raw = std::make_unique<End>(std::move(*conn));
    raw->write(bytes);
  });
  Time began = world.loop.now();
  cr_assert(world.loop.run_until_idle(1000));
  cr_assert(status && !status->ok());
  cr_assert(raw->closed.has_value());
  cr_assert_leq((world.loop.now() - began).ns, (limits::tls_handshake_timeout + ms(1)).ns);
  return std::string(status->message());
}

}  // namespace

// ---- the server's certificate

Test(tls_refusal, an_expired_certificate) {
  TlsFolder files;
  Pair509 old = files.authority.issue({"a", "DNS:localhost", -5 * day_s, -2 * day_s});
  HAS(refusal_of_server(files, old, "localhost", "the client refuses our certificate: it is expired"),
      ("certificate expired on " + date(-2 * day_s)).c_str());
}

Test(tls_refusal, a_certificate_of_the_future) {
  TlsFolder files;
  Pair509 early = files.authority.issue({"a", "DNS:localhost", 2 * day_s, 3 * day_s});
  HAS(refusal_of_server(files, early, "localhost", "the client refuses our certificate"),
      ("certificate is not valid before " + date(2 * day_s)).c_str());
}

Test(tls_refusal, a_certificate_of_another_name) {
  TlsFolder files;
  Pair509 other = files.authority.issue({"x", "DNS:a.test,DNS:*.b.test,IP:10.0.0.1"});
  HAS(refusal_of_server(files, other), "certificate is for a.test, *.b.test, 10.0.0.1, not for localhost");
  HAS(refusal_of_server(files, other, "127.0.0.1"), "not for 127.0.0.1");
  HAS(refusal_of_server(files, other, "x.y.b.test"), "not for x.y.b.test");
  HAS(refusal_of_server(files, other, "b.test"), "not for b.test");
}

Test(tls_refusal, a_certificate_with_many_names_or_none) {
  TlsFolder files;
  std::string names = "DNS:0.test";
  for (int i = 1; i < 40; i++) names += ",DNS:" + std::to_string(i) + ".test";
  HAS(refusal_of_server(files, files.authority.issue({"x", names})), "4.test and 35 more, not for localhost");
  // The common name counts for nothing.
  HAS(refusal_of_server(files, files.authority.issue({"localhost", ""})), "is for no name at all, not for localhost");
}

Test(tls_refusal, names_that_do_match) {
  TlsFolder files;
  for (const auto& [names, name] : std::vector<std::pair<std::string, std::string>>{
           {"DNS:a.test", "a.test"}, {"DNS:*.a.test", "b.a.test"}, {"DNS:a.test", "A.Test"},
           {"IP:127.0.0.1", "127.0.0.1"}, {"IP:::1", "::1"}}) {
    SimWorld world;
    TlsPair pair(world, files.serve(CertWish{"x", names}), files.trust());
    pair.run(name);
    cr_assert(pair.is_up(), "%s: %s", name.c_str(), pair.client_text().c_str());
  }
}

Test(tls_refusal, an_unknown_authority) {
  TlsFolder files;
  HAS(refusal_of_server(files, Authority("Stranger").issue(), "localhost", "the client does not know the authority"),
      "certificate is signed by an unknown authority, \"CN=Stranger\"");
}

Test(tls_refusal, an_authority_of_the_system_is_no_test_authority) {
  TlsFolder files;
  SimWorld world;
  TlsPair pair(world, files.serve(), TlsOptions());
  pair.run();
  HAS(pair.client_text(), "unknown authority, \"CN=Test Authority\"");
}

Test(tls_refusal, a_self_signed_certificate) {
  TlsFolder files;
  HAS(refusal_of_server(files, self_signed()), "certificate is self-signed");
}

Test(tls_refusal, a_self_signed_certificate_may_be_trusted_by_itself) {
  TlsFolder files;
  Pair509 self = self_signed();
  TlsOptions client = files.trust();
  client.authorities = files.folder.write("self.pem", self.certificate);
  SimWorld world;
  TlsPair pair(world, files.serve(self), client);
  pair.run();
  cr_assert(pair.is_up(), "%s", pair.client_text().c_str());
}

Test(tls_refusal, an_expired_authority) {
  TlsFolder files;
  Authority old("Old", -day_s);
  TlsOptions client = files.trust();
  client.authorities = files.folder.write("old.pem", old.pem());
  SimWorld world;
  TlsPair pair(world, files.serve(old.issue()), client);
  pair.run();
  HAS(pair.client_text(), "certificate of its authority \"CN=Old\" expired on ");
}

Test(tls_refusal, a_chain_that_lacks_a_link) {
  TlsFolder files;
  Authority middle("Middle", files.authority);
  Pair509 pair = middle.issue();
  HAS(refusal_of_server(files, pair), "certificate is signed by an unknown authority, \"CN=Middle\"");
  pair.certificate += middle.pem();
  SimWorld world;
  TlsPair whole(world, files.serve(pair), files.trust());
  whole.run();
  cr_assert(whole.is_up(), "%s", whole.client_text().c_str());
}

Test(tls_refusal, a_certificate_that_was_revoked) {
  TlsFolder files;
  Pair509 lost = files.authority.issue(), good = files.authority.issue();
  files.folder.write("ca.pem", files.authority.pem() + files.authority.revoke(lost));
  HAS(refusal_of_server(files, lost, "localhost", "the client refuses our certificate: it was revoked"),
      "certificate was revoked");
  SimWorld world;
  TlsPair pair(world, files.serve(good), files.trust());
  pair.run();
  cr_assert(pair.is_up(), "%s", pair.client_text().c_str());
  Heard heard = refusal_of_client(files, files.show(lost));
  HAS(heard.server, "client certificate was revoked");
  HAS(heard.client, "the server refuses our certificate: it was revoked");
}

Test(tls_refusal, a_certificate_for_clients) {
  TlsFolder files;
  HAS(refusal_of_server(files, files.authority.issue({"a", "DNS:localhost", -10, 1000, "clientAuth"})),
      "certificate is not meant for servers");
}

// ---- the client's certificate

Test(tls_refusal, clients_without_a_certificate) {
  TlsFolder files;
  for (int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    Heard heard = refusal_of_client(files, files.trust(), version);
    HAS(heard.client, "client certificate missing");
    HAS(heard.server, "client certificate missing");
  }
}

Test(tls_refusal, clients_with_a_certificate_that_does_not_do) {
  TlsFolder files;
  struct Case {
    Pair509 pair;
    const char *client, *server;
  } cases[] = {
      {files.authority.issue({"me", "DNS:me", -5 * day_s, -day_s}), "refuses our certificate: it is expired",
       "client certificate expired on "},
      {files.authority.issue({"me", "DNS:me", day_s, 2 * day_s}), "refuses our certificate",
       "client certificate is not valid before "},
      {Authority("Stranger").issue(), "does not know the authority of our certificate",
       "client certificate is signed by an unknown authority, \"CN=Stranger\""},
      {self_signed(), "the server ", "client certificate is self-signed"},
      {files.authority.issue({"me", "DNS:me", -10, 1000, "serverAuth"}), "refuses our certificate",
       "client certificate is not meant for clients"},
  };
  for (const Case& each : cases) {
    for (int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
      Heard heard = refusal_of_client(files, files.show(each.pair), version);
      HAS(heard.client, each.client);
      HAS(heard.server, each.server);
    }
  }
}

Test(tls_refusal, servers_that_refuse_without_a_word) {
  TlsFolder files;
  for (bool has_certificate : {false, true}) {
    SimWorld world;
    TlsPair pair(world, files.verify_clients(files.serve()),
                 has_certificate ? files.show(files.authority.issue()) : files.trust());
    SSL_CTX_set_verify(pair.server_context.get(), SSL_VERIFY_PEER, nullptr);  // asks, and takes none for an answer
    pair.run();
    cr_assert(pair.is_up());
    pair.start();
    pair.server.reset();
    cr_assert(world.loop.run_until_idle(100));
    HAS(std::string(pair.client->closed->message()),
        has_certificate ? "the server hung up when it had seen our certificate"
                        : "client certificate missing: the server asked for one, and hung up");
  }
}

Test(tls_refusal, a_server_that_asks_nobody_takes_any_client) {
  TlsFolder files;
  SimWorld world;
  TlsPair pair(world, files.serve(), files.show(Authority("Stranger").issue()));
  pair.run();
  cr_assert(pair.is_up());
  cr_assert(pair.server_conn->peer().names.empty(), "nobody has verified that certificate");
}

// ---- protocols

Test(tls_refusal, clients_that_do_not_speak_http2) {
  TlsFolder files;
  for (std::string_view protocols : {"", "\x08http/1.1", "\x06spdy/3\x08http/1.1"}) {
    SimWorld world;
    TlsPair pair(world, files.serve(), files.trust());
    SSL_CTX_set_alpn_protos(pair.client_context.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                            static_cast<unsigned>(protocols.size()));
    pair.run();
    HAS(pair.server_text(), "no common protocol: the client does not speak HTTP/2");
    HAS(pair.client_text(), "no common protocol: the server does not speak HTTP/2");
  }
}

Test(tls_refusal, servers_that_do_not_speak_http2) {
  TlsFolder files;
  SimWorld world;
  TlsPair pair(world, files.serve(), files.trust());
  SSL_CTX_set_alpn_select_cb(pair.server_context.get(), nullptr, nullptr);
  pair.run();
  HAS(pair.client_text(), "no common protocol: the server does not speak HTTP/2");
}

Test(tls_refusal, peers_of_another_age) {
  TlsFolder files;
  for (bool client_is_old : {true, false}) {
    SimWorld world;
    TlsPair pair(world, files.serve(), files.trust());
    SSL_CTX* old = client_is_old ? pair.client_context.get() : pair.server_context.get();
    SSL_CTX_set_cipher_list(old, "DEFAULT@SECLEVEL=0");
    SSL_CTX_set_min_proto_version(old, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
    pair.run();
    HAS(pair.client_text(), "no common protocol: the server speaks neither TLS 1.2 nor 1.3");
    HAS(pair.server_text(), "no common protocol: the client speaks neither TLS 1.2 nor 1.3");
  }
}

Test(tls_refusal, tls_1_2_and_1_3_are_fine) {
  TlsFolder files;
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    SimWorld world;
    TlsPair pair(world, files.serve(), files.trust());
    SSL_CTX_set_max_proto_version(pair.client_context.get(), version);
    pair.run();
    cr_assert(pair.is_up());
    pair.start();
    pair.client->write("hello");
    cr_assert(world.loop.run_until_idle(100));
    cr_assert_eq(pair.server->received, "hello");
  }
}

Test(tls_refusal, ciphers_without_forward_secrecy) {
  TlsFolder files;
  SimWorld world;
  TlsPair pair(world, files.serve(), files.trust());
  SSL_CTX_set_max_proto_version(pair.client_context.get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(pair.client_context.get(), "AES256-SHA:AES128-SHA");
  pair.run();
  HAS(pair.server_text(), "no common cipher");
  HAS(pair.client_text(), "no common cipher");
}

Test(tls_refusal, clients_that_do_not_speak_tls) {
  HAS(refusal_of_bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "the peer does not speak TLS");
  HAS(refusal_of_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "the peer does not speak TLS");
  HAS(refusal_of_bytes(std::string_view("\0\0\0\0", 4)), "the peer does not speak TLS");
}

Test(tls_refusal, garbage_that_looks_like_tls) {
  uint64_t first = seed(1);
  for (uint64_t each = first; each < first + 200; each++) {
    Random random(each);
    std::string bytes("\x16\x03\x01", 3);
    size_t size = 1 + random.below(600);
    for (size_t i = 0; i < size; i++) bytes.push_back(static_cast<char>(random.next()));
    if (each % 2 == 0) bytes[3] = 0;  // a record that fits
    cr_assert(!refusal_of_bytes(bytes).empty());
  }
}

Test(tls_refusal, servers_that_do_not_speak_tls) {
  TlsFolder files;
  constexpr std::string_view settings("\0\0\0\4\0\0\0\0\0", 9), http1 = "HTTP/1.1 400 Bad Request\r\n\r\n";
  for (std::string_view says : {settings, http1, std::string_view()}) {
    SimWorld world;
    std::unique_ptr<End> plain;
    Result<std::unique_ptr<Listener>> listener = world.network.listen(url("mem:a"), [&](std::unique_ptr<Conn> conn) {
      plain = std::make_unique<End>(std::move(conn));
      if (says.empty())
        plain->then = [&] { plain.reset(); };
      else
        plain->write(says);
    });
    std::optional<Status> status;
    world.network.dial(with_tls_options(url("tls://localhost?inner=mem%3Aa"), files.trust()),
                       [&](Result<std::unique_ptr<Conn>> conn) { status = conn.status(); });
    cr_assert(world.loop.run_until_idle(100));
    cr_assert_eq(status->code(), Code::unavailable);
    std::string text(status->message());
    HAS(text, "dial tls://localhost?inner=mem:a: ");
    HAS(text, says.empty() ? "ended the connection during the TLS handshake, without a word of TLS"
                           : "the peer does not speak TLS");
  }
}

// ---- time

Test(tls_refusal, a_handshake_that_stalls) {
  TlsFolder files;
  HAS(refusal_of_bytes(""), "no TLS handshake within 10 s");
  HAS(refusal_of_bytes("\x16\x03\x01\x02"), "no TLS handshake within 10 s");
  SimWorld world;
  std::unique_ptr<End> silent;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(
      url("mem:a"), [&](std::unique_ptr<Conn> conn) { silent = std::make_unique<End>(std::move(conn)); });
  std::optional<Status> status;
  world.network.dial(with_tls_options(url("tls://localhost?inner=mem%3Aa"), files.trust()),
                     [&](Result<std::unique_ptr<Conn>> conn) { status = conn.status(); });
  world.loop.run_for(limits::tls_handshake_timeout - ms(1));
  cr_assert(not status);
  world.loop.run_for(ms(2));
  cr_assert_eq(status->code(), Code::unavailable);
  HAS(std::string(status->message()), "no TLS handshake within 10 s");
  cr_assert(silent->closed.has_value());
}

// ---- after the handshake

Test(tls_refusal, a_peer_that_asks_for_answers_and_does_not_read_them) {
  TlsFolder files;
  SimWorld world;
  TlsPair pair(world, files.serve(), files.trust());
  std::unique_ptr<TlsConn> conn;
  std::unique_ptr<End> server, raw;
  Result<std::unique_ptr<Listener>> listener = world.network.listen(url("mem:b"), [&](std::unique_ptr<Conn> inner) {
    conn = std::make_unique<TlsConn>(world.loop, *pair.server_context, TlsSide::server, "", std::move(inner));
    conn->handshake([&](Status status) {
      cr_assert(status.ok());
      server = std::make_unique<End>(std::move(conn));
    });
  });
  world.network.dial(url("mem:b"), [&](auto inner) { raw = std::make_unique<End>(std::move(*inner)); });
  world.loop.run_for(ms(1));

  // A client by hand: each of its key updates asks for another (RFC 8446, 4.6.3).
  SSL* ssl = SSL_new(pair.client_context.get());
  TlsNotes notes;
  SSL_set_app_data(ssl, &notes);
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, in, out);
  SSL_set_connect_state(ssl);
  auto step = [&] {
    SSL_do_handshake(ssl);
    char* data;
    long size = BIO_get_mem_data(out, &data);
    raw->write({data, static_cast<size_t>(size)});
    BIO_reset(out);
    world.loop.run_for(ms(1));
    BIO_write(in, raw->received.data(), static_cast<int>(raw->received.size()));
    raw->received.clear();
  };
  for (int i = 0; i < 5 && !server; i++) step();
  cr_assert(server != nullptr);
  raw->conn->pause(true);
  size_t unsent_max = 0;
  for (int i = 0; i < 40'000 && !server->closed; i++) {
    SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
    step();
    if (!server->closed) unsent_max = std::max(unsent_max, server->conn->unsent());
  }
  SSL_free(ssl);
  cr_assert(server->closed.has_value(), "unsent %zu", unsent_max);
  cr_assert_eq(server->closed->code(), Code::resource_exhausted);
  cr_assert_leq(unsent_max, limits::tls_answers_bytes_max + 100);
  HAS(std::string(server->closed->message()), "asks for more answers of TLS than it reads");
}
