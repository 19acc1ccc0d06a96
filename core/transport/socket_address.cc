// transport/socket_address.cc - between sockaddr and text.
#include "transport/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/limits.h"

namespace nebula {

namespace {

// A client of a listener for all addresses comes with its IPv4 address inside an IPv6 one; people know the former.
SocketAddress unmapped(const SocketAddress& address) {
  if (address.family() != AF_INET6) return address;
  const sockaddr_in6* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
  if (!IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) return address;
  SocketAddress plain;
  sockaddr_in* v4 = reinterpret_cast<sockaddr_in*>(&plain.storage);
  v4->sin_family = AF_INET;
  v4->sin_port = v6->sin6_port;
  std::memcpy(&v4->sin_addr, v6->sin6_addr.s6_addr + 12, sizeof v4->sin_addr);
  plain.size = sizeof *v4;
  return plain;
}

}  // namespace

std::optional<SocketAddress> SocketAddress::numeric(const std::string& host, uint16_t port) {
  SocketAddress address;
  sockaddr_in* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.size = sizeof *v4;
    return address;
  }
  sockaddr_in6* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.size = sizeof *v6;
    return address;
  }
  return std::nullopt;
}

SocketAddress SocketAddress::unix_path(std::string_view path) {
  NEBULA_ASSERT(path.size() <= limits::unix_path_max);
  SocketAddress address;
  sockaddr_un* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.data(), path.size());
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

SocketAddress SocketAddress::local(int fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (::getsockname(fd, address.get(), &address.size) != 0) address.size = 0;
  return address;
}

Url SocketAddress::url() const {
  Url url;
  if (family() == AF_UNIX) {
    const sockaddr_un* un = reinterpret_cast<const sockaddr_un*>(&storage);
    url.scheme = "unix";
    // A client has no path; its address ends before one.
    if (size > offsetof(sockaddr_un, sun_path)) url.path = un->sun_path;
    return url;
  }
  SocketAddress plain = unmapped(*this);
  url.scheme = "tcp";
  char host[INET6_ADDRSTRLEN] = "";
  if (plain.family() == AF_INET) {
    const sockaddr_in* v4 = reinterpret_cast<const sockaddr_in*>(&plain.storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    url.port = ntohs(v4->sin_port);
  } else {
    const sockaddr_in6* v6 = reinterpret_cast<const sockaddr_in6*>(&plain.storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    url.port = ntohs(v6->sin6_port);
  }
  url.host = host;
  return url;
}

Peer peer_of(int fd, const SocketAddress& address) {
  Peer peer;
  peer.address = address.url().text();
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (address.family() == AF_UNIX && ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
    peer.uid = credentials.uid;
    peer.pid = credentials.pid;
  }
  return peer;
}

std::string reason(int error) {
  char buffer[128];
  std::string text(strerror_r(error, buffer, sizeof buffer));
  text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

Status socket_error(std::string_view what, int error) {
  return unavailable(std::string(what) + ": " + reason(error));
}

Status listen_error(std::string_view what, int error) {
  return {system_error(what, error).code(), std::string(what) + ": " + reason(error)};
}

}  // namespace nebula
