// transport/tls_options.h - what tls:// needs beside an address: files (PEM), and the name to verify.
//
//   tls://0.0.0.0:7443?cert=a.pem&key=a.key            a server
//   tls://0.0.0.0:7443?cert=a.pem&key=a.key&ca=ca.pem  the same, and clients must show a certificate of that authority
//   tls://example.com:443                              a client: the system's authorities, the name example.com
//   tls://10.0.0.5:7443?ca=ca.pem&name=example.com     a client: these authorities, that name
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/url.h"

namespace nebula {

struct TlsOptions {
  std::string certificate;  // ?cert: ours, then those between it and its authority
  std::string key;          // ?key: of the certificate; empty: in the same file
  std::string authorities;  // ?ca: who may vouch for the peer, and their revocation lists if there are. Empty: the
                            // system's; on a server, no client is asked
  std::string server_name;  // ?name: what a client wants to read in the server's certificate. Empty: the address's host

  bool operator==(const TlsOptions&) const = default;
};

enum class TlsSide : uint8_t { client, server };

// Takes the options above, and a lone ?tls, out of an address. Nothing: there was none.
std::optional<TlsOptions> take_tls_options(Url& url);

Url with_tls_options(Url url, const TlsOptions& options);

// The addresses that a client may dial, of those that somebody announces. Whoever announces does not choose whom we
// trust: a tls: address loses its own options and gets ours. A client that has options wants TLS: other addresses go.
std::vector<Url> trusted_urls(std::vector<Url> announced, const std::optional<TlsOptions>& options);

}  // namespace nebula
