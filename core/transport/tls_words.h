// transport/tls_words.h - why TLS did not work, in words for the person who has to put it right.
//
// OpenSSL says "certificate verify failed" and forgets the certificate; so its callbacks take notes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

struct ssl_st;
struct x509_st;
struct x509_store_ctx_st;

namespace nebula {

// Of one handshake. A connection keeps them, and they are its SSL's app data.
struct TlsNotes {
  std::string name;     // client: what the server's certificate must be for
  std::string trouble;  // what is wrong with the peer's certificate
  bool lacks_alpn = false;                // server: the client did not offer h2
  bool is_asked_for_certificate = false;  // client: the server wants one
};

TlsNotes& notes_of(ssl_st* ssl);

// The callback of SSL_CTX_set_verify: agrees with OpenSSL, and notes the first trouble.
int note_verification(int is_fine, x509_store_ctx_st* store);

// `unauthenticated`: TLS cannot be set up with what was given.
Status tls_error(std::string text);
Status tls_file_error(std::string_view what, const std::string& path);  // by OpenSSL's error queue, which it empties

std::string tls_reason();  // OpenSSL's own words for its last error

// Why the handshake, or the connection, failed; by the notes and OpenSSL's error queue, which it empties.
std::string tls_failure(ssl_st* ssl);

// The subject alternative names of a certificate: "DNS:example.com", "IP:10.0.0.1", "URI:spiffe://a/b". The subject's
// common name is none of them: it never was checked.
std::vector<std::string> names_of(x509_st* certificate);

}  // namespace nebula
