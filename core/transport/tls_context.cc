// transport/tls_context.cc - the protocol's rules, and files into contexts.
#include "transport/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "transport/tls_words.h"

namespace nebula {

namespace {

// Forward secrecy and authenticated encryption: RFC 9113, 9.2.2, on TLS 1.2. In TLS 1.3 there is nothing else.
constexpr char ciphers_of_tls_1_2[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr unsigned char alpn_h2[] = {2, 'h', '2'};

// A key under a passphrase: OpenSSL would ask for it at the terminal. -1: there is none.
int no_passphrase(char*, int, int, void*) { return -1; }

// RFC 9113, 3.2. A client that offers other protocols only, or says nothing of protocols, speaks no HTTP/2.
int require_alpn(SSL* ssl, int* alert, void*) {
  const unsigned char* data;
  size_t size;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data, &size) == 1)
    return SSL_CLIENT_HELLO_SUCCESS;
  notes_of(ssl).lacks_alpn = true;
  *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  return SSL_CLIENT_HELLO_ERROR;
}

int select_h2(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
              unsigned int offered_size, void*) {
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_size, alpn_h2, sizeof alpn_h2, offered, offered_size) ==
      OPENSSL_NPN_NEGOTIATED) {
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
  }
  notes_of(ssl).lacks_alpn = true;
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int note_certificate_request(SSL* ssl, void*) {
  if (!SSL_is_server(ssl)) notes_of(ssl).is_asked_for_certificate = true;
  return 1;
}

void set_rules(SSL_CTX* context, TlsSide side) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context, ciphers_of_tls_1_2);
  // No session is resumed: connections last, so it would save little, and a resumed one skips the look at the peer's
  // certificate, which may have expired since. So there are no tickets either, and nothing to replay.
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_max_early_data(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // an idle connection keeps none of its 34 KiB
  SSL_CTX_set_default_passwd_cb(context, no_passphrase);
  SSL_CTX_set_cert_cb(context, note_certificate_request, nullptr);
  if (side == TlsSide::server) {
    SSL_CTX_set_client_hello_cb(context, require_alpn, nullptr);
    SSL_CTX_set_alpn_select_cb(context, select_h2, nullptr);
  } else {
    SSL_CTX_set_alpn_protos(context, alpn_h2, sizeof alpn_h2);
  }
}

Status use_pair(SSL_CTX* context, const TlsOptions& options) {
  const std::string& key = options.key.empty() ? options.certificate : options.key;
  if (SSL_CTX_use_certificate_chain_file(context, options.certificate.c_str()) != 1)
    return tls_file_error("certificate", options.certificate);
  // Before the call that would only say "mismatch": which of the two is broken?
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) return tls_file_error("key", key);
  if (SSL_CTX_check_private_key(context) != 1) return tls_file_error("key", key);
  return {};
}

// Revocation lists stand in the authorities' file beside the certificates. Where there is one, every authority whose
// certificates are shown must have one: else who leaves a list away would have nothing revoked.
void use_revocation_lists(SSL_CTX* context) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  const STACK_OF(X509_OBJECT)* known = X509_STORE_get0_objects(store);
  for (int i = 0; i < sk_X509_OBJECT_num(known); i++)
    if (X509_OBJECT_get_type(sk_X509_OBJECT_value(known, i)) == X509_LU_CRL)
      X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
}

Status use_authorities(SSL_CTX* context, const TlsOptions& options, TlsSide side) {
  if (options.authorities.empty()) {
    if (side == TlsSide::client) SSL_CTX_set_default_verify_paths(context);
    return {};
  }
  if (SSL_CTX_load_verify_file(context, options.authorities.c_str()) != 1)
    return tls_file_error("authorities", options.authorities);
  use_revocation_lists(context);
  // A client with several certificates chooses by these names.
  if (side == TlsSide::server)
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(options.authorities.c_str()));
  return {};
}

}  // namespace

void TlsContextFree::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

Result<TlsContext> make_tls_context(const TlsOptions& options, TlsSide side) {
  // First of all, and harmless later: OpenSSL's own clean-up at exit would pull the ground from under a thread that
  // still runs then, ours or the host program's.
  OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr);
  ERR_clear_error();
  if (options.certificate.empty() && side == TlsSide::server)
    return tls_error("a server needs a certificate and its key: tls://host:port?cert=cert.pem&key=key.pem");
  if (options.certificate.empty() && !options.key.empty())
    return tls_error("key " + options.key + " comes without a certificate");
  TlsContext context(SSL_CTX_new(side == TlsSide::server ? TLS_server_method() : TLS_client_method()));
  if (context == nullptr) return tls_error("OpenSSL: " + tls_reason());
  set_rules(context.get(), side);
  Status status = options.certificate.empty() ? Status() : use_pair(context.get(), options);
  if (status.ok()) status = use_authorities(context.get(), options, side);
  ERR_clear_error();  // the thread's, which the host program may look at
  if (!status.ok()) return status;
  bool verifies = side == TlsSide::client || !options.authorities.empty();
  if (verifies)
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, note_verification);
  return context;
}

// ---- TlsFiles

Result<std::unique_ptr<TlsFiles>> TlsFiles::open(const TlsOptions& options, TlsSide side, const Clock& clock,
                                                 const Log& log) {
  std::unique_ptr<TlsFiles> files(new TlsFiles(options, side, clock, log));
  TRY(files->context_, make_tls_context(options, side));
  return files;
}

// The stamps are taken before the files are read: what is written meanwhile shows at the next look.
TlsFiles::TlsFiles(const TlsOptions& options, TlsSide side, const Clock& clock, const Log& log)
    : options_(options), side_(side), clock_(clock), log_(log), seen_(look()), looked_(clock.now()) {}

ssl_ctx_st& TlsFiles::context() {
  if (clock_.now() - looked_ < limits::tls_look_interval) return *context_;
  looked_ = clock_.now();
  Stamps stamps = look();
  if (stamps == seen_) return *context_;
  seen_ = stamps;
  Result<TlsContext> renewed = make_tls_context(options_, side_);
  if (renewed.ok()) {
    NEBULA_LOG(log_, info, "tls: took up the new files of " +
                               (options_.certificate.empty() ? options_.authorities : options_.certificate));
    context_ = std::move(*renewed);
  } else {
    NEBULA_LOG(log_, warn, "tls: goes on with the old files: " + std::string(renewed.status().message()));
  }
  return *context_;
}

TlsFiles::Stamps TlsFiles::look() const {
  Stamps stamps;
  FileStamp* stamp = stamps.data();
  for (const std::string& path : {options_.certificate, options_.key, options_.authorities}) {
    struct stat file{};
    if (!path.empty() && ::stat(path.c_str(), &file) == 0)
      *stamp = {file.st_dev, file.st_ino, static_cast<uint64_t>(file.st_size),
                file.st_mtim.tv_sec * int64_t{1'000'000'000} + file.st_mtim.tv_nsec,
                file.st_ctim.tv_sec * int64_t{1'000'000'000} + file.st_ctim.tv_nsec};
    stamp++;
  }
  return stamps;
}

}  // namespace nebula
