// transport/socket_address.h - addresses of sockets, and what the system says about them in words.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "transport/transport.h"

namespace nebula {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }

  // Nothing: the host is a name.
  static std::optional<SocketAddress> numeric(const std::string& host, uint16_t port);
  // The path must not be longer than limits::unix_path_max.
  static SocketAddress unix_path(std::string_view path);
  static SocketAddress local(int fd);

  Url url() const;
};

// Who is at the other end of a connected socket; `address` is where it was found, as for people.
Peer peer_of(int fd, const SocketAddress& address);

// The system's word for an error, as it stands inside a sentence: "connection refused".
std::string reason(int error);

// A connection that is lost or can't be made is unavailable, whatever the system calls it: another peer may serve.
Status socket_error(std::string_view what, int error);

// One that can't listen is told apart: no permission, no memory, no such address.
Status listen_error(std::string_view what, int error);

}  // namespace nebula
