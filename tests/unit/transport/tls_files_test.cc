// unit/transport/tls_files_test.cc - options, files that do not do, and files that change under way.
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/limits.h"
#include "kit/tls.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

std::string trouble(const TlsOptions& options, TlsSide side = TlsSide::server) {
  Result<TlsContext> context = make_tls_context(options, side);
  cr_assert(not context.ok());
  cr_assert_eq(context.status().code(), Code::unauthenticated);
  return std::string(context.status().message());
}

// The names in the certificate that a new connection is shown.
std::vector<std::string> shown(SimWorld& world, const Url& to, Pair& pair, Network& network) {
  pair.client.reset();
  network.dial(to, [&](Result<std::unique_ptr<Conn>> conn) {
    cr_assert(conn.ok(), "%s", conn.status().text().c_str());
    pair.client = std::make_unique<End>(std::move(*conn));
  });
  world.loop.run_for(ms(1));
  cr_assert(pair.client != nullptr);
  return pair.client->conn->peer().names;
}

using Names = std::vector<std::string>;

// A server whose files a test rewrites.
struct Rotation {
  SimWorld world;
  TlsFolder files;
  TlsOptions options = files.serve(CertWish{"first", "DNS:localhost,DNS:first"});
  Url to = with_tls_options(url("tls://localhost?inner=mem%3Aa"), files.trust());
  Pair pair;
  std::vector<std::unique_ptr<End>> accepted;
  std::unique_ptr<Listener> listener;

  Rotation() {
    world.log = Log(Level::off);
    Result<std::unique_ptr<Listener>> made =
        world.network.listen(with_tls_options(url("tls://localhost?inner=mem%3Aa"), options), [this](auto conn) {
          accepted.push_back(std::make_unique<End>(std::move(conn)));
        });
    cr_assert(made.ok());
    listener = std::move(*made);
    cr_assert(now_shown() == Names({"DNS:localhost", "DNS:first"}));
  }

  Names now_shown() { return shown(world, to, pair, world.network); }
  void wait() { world.loop.run_for(limits::tls_look_interval); }
};

}  // namespace

Test(tls_files, options_of_an_address) {
  Url address = url("tls://a:1?cert=/c%26.pem&key=/k.pem&ca=/ca.pem&name=b&share=1");
  std::optional<TlsOptions> options = take_tls_options(address);
  cr_assert(options == TlsOptions({"/c&.pem", "/k.pem", "/ca.pem", "b"}));
  cr_assert_eq(address, url("tls://a:1?share=1"));
  cr_assert(not take_tls_options(address));
  cr_assert_eq(with_tls_options(address, *options),
               url("tls://a:1?share=1&cert=/c%26.pem&key=/k.pem&ca=/ca.pem&name=b"));
  Url name = url("nebula://x?tls");
  cr_assert(take_tls_options(name) == TlsOptions());
  cr_assert_eq(name, url("nebula://x"));
}

Test(tls_files, whoever_announces_does_not_choose_whom_we_trust) {
  std::vector<Url> announced = {url("unix:/a"), url("tcp://a:1"), url("tls://a:2?ca=/theirs&name=evil&cert=/x")};
  cr_assert(trusted_urls(announced, {}) == std::vector<Url>({url("unix:/a"), url("tcp://a:1"), url("tls://a:2")}));
  cr_assert(trusted_urls(announced, TlsOptions{"", "", "/ours", ""}) == std::vector<Url>({url("tls://a:2?ca=/ours")}),
            "and who wants TLS gets nothing else");
}

Test(tls_files, that_do_not_do_are_named) {
  TlsFolder files;
  TlsOptions good = files.serve();
  Pair509 other = files.authority.issue();
  std::string cut = files.authority.issue().certificate;
  cut.resize(cut.size() / 2);

  TlsOptions options = good;
  options.certificate = files.folder.path("none.pem");
  cr_assert_eq(trouble(options), "tls: certificate " + options.certificate + ": no such file or directory");
  options.certificate = files.folder.write("text.pem", "hello");
  cr_assert_eq(trouble(options), "tls: certificate " + options.certificate + ": holds no PEM of that kind");
  options.certificate = files.folder.write("cut.pem", cut);
  cr_assert_eq(trouble(options), "tls: certificate " + options.certificate + ": is cut off");
  options.certificate = files.folder.write("empty.pem", "");
  cr_assert_eq(trouble(options), "tls: certificate " + options.certificate + ": holds no PEM of that kind");
  options = good;
  options.key = files.folder.path("none.key");
  cr_assert_eq(trouble(options), "tls: key " + options.key + ": no such file or directory");
  options.key = files.folder.write("other.key", other.key);
  cr_assert_eq(trouble(options), "tls: key " + options.key + ": is not the certificate's key");
  options.key = good.certificate;
  cr_assert_eq(trouble(options), "tls: key " + options.key + ": holds no PEM of that kind, or is cut off");
  options = good;
  options.authorities = files.folder.path("none");
  cr_assert_eq(trouble(options), "tls: authorities " + options.authorities + ": no such file or directory");
  options.authorities = good.key;
  cr_assert_eq(trouble(options, TlsSide::client).substr(0, 17 + good.key.size()), "tls: authorities " + good.key);
  cr_assert_eq(trouble(TlsOptions()),
               "tls: a server needs a certificate and its key: tls://host:port?cert=cert.pem&key=key.pem");
  cr_assert_eq(trouble({"", good.key, "", ""}, TlsSide::client),
               "tls: key " + good.key + " comes without a certificate");
}

Test(tls_files, a_key_under_a_passphrase_is_not_asked_for_at_the_terminal) {
  TlsFolder files;
  TlsOptions options = files.serve();
  EVP_PKEY* key = EVP_EC_gen("P-256");
  BIO* out = BIO_new(BIO_s_mem());
  char secret[] = "secret";
  PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), secret, 6, nullptr, nullptr);
  char* data;
  long size = BIO_get_mem_data(out, &data);
  options.key = files.folder.write("secret.key", std::string(data, static_cast<size_t>(size)));
  BIO_free(out);
  EVP_PKEY_free(key);
  cr_assert_eq(trouble(options), "tls: key " + options.key + ": is under a passphrase");
}

Test(tls_files, a_pair_in_one_file) {
  TlsFolder files;
  Pair509 pair = files.authority.issue();
  TlsOptions options{files.folder.write("both.pem", pair.key + pair.certificate), "", "", ""};
  cr_assert(make_tls_context(options, TlsSide::server).ok());
}

Test(tls_files, a_server_with_bad_files_does_not_listen) {
  SimWorld world;
  Result<std::unique_ptr<Listener>> listener =
      world.network.listen(url("tls://localhost?inner=mem%3Aa&cert=/none.pem"), [](std::unique_ptr<Conn>) {});
  cr_assert_eq(listener.status().code(), Code::unauthenticated);
  std::optional<Status> status;
  world.network.dial(url("tls://localhost?inner=mem%3Aa&ca=/none.pem"),
                     [&](Result<std::unique_ptr<Conn>> conn) { status = conn.status(); });
  cr_assert(world.loop.run_until_idle(10));
  cr_assert_eq(status->message(),
               "dial tls://localhost?inner=mem:a: tls: authorities /none.pem: no such file or directory");
}

Test(tls_files, a_new_pair_is_taken_up_and_old_connections_stay) {
  Rotation rotation;
  std::unique_ptr<End> old = std::move(rotation.pair.client);
  End& old_server = *rotation.accepted.back();
  rotation.files.serve(CertWish{"second", "DNS:localhost,DNS:second"});
  cr_assert(rotation.now_shown() == Names({"DNS:localhost", "DNS:first"}), "not looked at more than once a second");
  rotation.wait();
  cr_assert(rotation.now_shown() == Names({"DNS:localhost", "DNS:second"}));
  old->write("still here");
  old_server.write("me too");
  rotation.world.loop.run_for(ms(1));
  cr_assert_eq(old_server.received, "still here");
  cr_assert_eq(old->received, "me too");
}

Test(tls_files, a_pair_that_is_half_written_waits_for_its_other_half) {
  Rotation rotation;
  Pair509 next = rotation.files.authority.issue({"second", "DNS:localhost,DNS:second"});
  rotation.files.folder.write("server.pem", next.certificate);
  rotation.wait();
  cr_assert(rotation.now_shown() == Names({"DNS:localhost", "DNS:first"}));
  rotation.files.folder.write("server.key", next.key.substr(0, next.key.size() / 2));
  rotation.wait();
  cr_assert(rotation.now_shown() == Names({"DNS:localhost", "DNS:first"}));
  rotation.files.folder.write("server.key", next.key);
  rotation.wait();
  cr_assert(rotation.now_shown() == Names({"DNS:localhost", "DNS:second"}));
}

Test(tls_files, that_vanish_are_done_without) {
  Rotation rotation;
  ::remove(rotation.options.certificate.c_str());
  rotation.wait();
  cr_assert(rotation.now_shown() == Names({"DNS:localhost", "DNS:first"}));
}

Test(tls_files, a_client_takes_up_new_authorities) {
  Rotation rotation;
  Authority next("Next");
  rotation.files.folder.write("ca.pem", next.pem());
  Pair509 pair = next.issue({"x", "DNS:localhost,DNS:next"});
  rotation.files.serve(pair);
  rotation.wait();
  cr_assert(rotation.now_shown() == Names({"DNS:localhost", "DNS:next"}));
}
