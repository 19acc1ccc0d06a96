// transport/tls_words.cc - certificates, alerts and files in words.
#include "transport/tls_words.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <ctime>
#include <memory>

#include "transport/socket_address.h"

namespace nebula {

namespace {

// A peer may send a certificate with thousands of names, of any length.
constexpr size_t names_said_max = 5;
constexpr size_t name_bytes_max = 256;

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, name_bytes_max)) out.push_back(c >= ' ' && c <= '~' ? c : '?');
  return out;
}

std::string moment(const ASN1_TIME* time) {
  std::tm parts{};
  char text[32];
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable date";
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts));
}

std::string name_text(const X509_NAME* name) {
  std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253);
  char* data = nullptr;
  long size = BIO_get_mem_data(out.get(), &data);
  return "\"" + printable({data, static_cast<size_t>(size)}) + "\"";
}

// "localhost, 127.0.0.1 and 3 more"
std::string said_names(X509* certificate) {
  std::vector<std::string> names = names_of(certificate);
  if (names.empty()) return "no name at all";
  std::string text;
  for (size_t i = 0; i < names.size() && i < names_said_max; i++)
    text.append(i == 0 ? "" : ", ").append(names[i].substr(names[i].find(':') + 1));
  if (names.size() > names_said_max) text.append(" and " + std::to_string(names.size() - names_said_max) + " more");
  return text;
}

std::string trouble_of(X509_STORE_CTX* store, const TlsNotes& notes, bool is_server) {
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  int error = X509_STORE_CTX_get_error(store);
  std::string what = is_server ? "client certificate" : "certificate";
  if (X509_STORE_CTX_get_error_depth(store) > 0 && certificate != nullptr)
    what += " of its authority " + name_text(X509_get_subject_name(certificate));
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return what + " expired on " + moment(X509_get0_notAfter(certificate));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return what + " is not valid before " + moment(X509_get0_notBefore(certificate));
    case X509_V_ERR_CERT_REVOKED: return what + " was revoked";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return what + " is for " + said_names(certificate) + ", not for " + notes.name;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return what + " is self-signed, and not among the authorities trusted";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      if (certificate == nullptr) break;
      return what + " is signed by an unknown authority, " + name_text(X509_get_issuer_name(certificate));
    case X509_V_ERR_INVALID_PURPOSE:
      return what + " is not meant for " + (is_server ? "clients" : "servers") + " (extended key usage)";
    default: break;
  }
  return what + " is refused: " + X509_verify_cert_error_string(error);
}

// What the peer says of us (RFC 8446, 6.2). Nothing: it is no alert that we have better words for.
std::string alert_text(int reason, const TlsNotes& notes, bool is_server) {
  std::string peer = is_server ? "the client" : "the server";
  bool came_without = notes.is_asked_for_certificate;
  switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: return "client certificate missing: " + peer + " asks for one";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
      // All that TLS 1.2 says to a client that sends none.
      if (came_without) return "client certificate missing or refused: " + peer + " asks for one";
      return "no common cipher, or " + peer + " has other reasons to refuse (handshake failure)";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: return "no common protocol: " + peer + " speaks neither TLS 1.2 nor 1.3";
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
      return "no common protocol: " + peer + " does not speak HTTP/2 here (ALPN h2)";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA: return peer + " does not know the authority of our certificate";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED: return peer + " refuses our certificate: it is expired";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED: return peer + " refuses our certificate: it was revoked";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: return peer + " refuses our certificate";
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED: return peer + " denies us access";
    case SSL_R_TLSV1_UNRECOGNIZED_NAME: return peer + " knows no server of that name (SNI)";
    default: return {};
  }
}

std::string own_text(int reason, bool is_server) {
  std::string peer = is_server ? "the client" : "the server";
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return "client certificate missing";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW: return "no common protocol: " + peer + " speaks neither TLS 1.2 nor 1.3";
    case SSL_R_NO_SHARED_CIPHER: return "no common cipher";
    default: return {};
  }
}

}  // namespace

TlsNotes& notes_of(ssl_st* ssl) { return *static_cast<TlsNotes*>(SSL_get_app_data(ssl)); }

int note_verification(int is_fine, x509_store_ctx_st* store) {
  if (is_fine == 1) return 1;
  SSL* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsNotes& notes = notes_of(ssl);
  if (notes.trouble.empty()) notes.trouble = trouble_of(store, notes, SSL_is_server(ssl) == 1);
  return 0;
}

Status tls_error(std::string text) { return {Code::unauthenticated, "tls: " + std::move(text)}; }

Status tls_file_error(std::string_view what, const std::string& path) {
  // The first error is the cause, the others are what it led to.
  unsigned long error = ERR_get_error();
  ERR_clear_error();
  std::string why = "cannot be used";
  if (ERR_SYSTEM_ERROR(error)) {
    why = reason(ERR_GET_REASON(error));
  } else if (ERR_GET_LIB(error) == ERR_LIB_PEM) {
    if (ERR_GET_REASON(error) == PEM_R_NO_START_LINE) why = "holds no PEM of that kind";
    if (ERR_GET_REASON(error) == PEM_R_BAD_END_LINE) why = "is cut off";
  } else if (ERR_GET_LIB(error) == ERR_LIB_OSSL_DECODER) {
    why = "holds no PEM of that kind, or is cut off";
  } else if (ERR_GET_REASON(error) == ERR_R_INTERRUPTED_OR_CANCELLED) {
    why = "is under a passphrase";  // for which nobody was asked
  } else if (ERR_GET_LIB(error) == ERR_LIB_X509) {
    why = "is not the certificate's key";
  }
  return tls_error(std::string(what) + " " + path + ": " + why);
}

std::string tls_reason() {
  const char* text = ERR_reason_error_string(ERR_peek_last_error());
  return text != nullptr ? text : "unknown reason";
}

std::string tls_failure(ssl_st* ssl) {
  const TlsNotes& notes = notes_of(ssl);
  bool is_server = SSL_is_server(ssl) == 1;
  unsigned long error = ERR_peek_error();
  std::string text = notes.trouble;
  if (text.empty() && notes.lacks_alpn) text = "no common protocol: the client does not speak HTTP/2 (ALPN h2)";
  if (text.empty() && ERR_GET_LIB(error) == ERR_LIB_SSL) {
    text = alert_text(ERR_GET_REASON(error), notes, is_server);
    if (text.empty()) text = own_text(ERR_GET_REASON(error), is_server);
  }
  if (text.empty()) text = "TLS: " + tls_reason();
  ERR_clear_error();
  return text;
}

std::vector<std::string> names_of(x509_st* certificate) {
  std::vector<std::string> names;
  std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> all(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all.get()); i++) {
    int kind;
    void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), i), &kind);
    if (kind != GEN_DNS && kind != GEN_URI && kind != GEN_IPADD && kind != GEN_EMAIL) continue;
    const ASN1_STRING* string = static_cast<const ASN1_STRING*>(value);
    const unsigned char* data = ASN1_STRING_get0_data(string);
    int size = ASN1_STRING_length(string);
    if (kind == GEN_IPADD) {
      char text[INET6_ADDRSTRLEN] = "";
      if (size == 4 || size == 16) inet_ntop(size == 4 ? AF_INET : AF_INET6, data, text, sizeof text);
      if (text[0] != 0) names.push_back(std::string("IP:") + text);
      continue;
    }
    std::string_view prefix = kind == GEN_DNS ? "DNS:" : kind == GEN_URI ? "URI:" : "EMAIL:";
    std::string_view text(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
    // A name with an unprintable letter, or a NUL in its midst, is nobody's identity.
    if (text.size() <= name_bytes_max && printable(text) == text) names.push_back(std::string(prefix).append(text));
  }
  return names;
}

}  // namespace nebula
