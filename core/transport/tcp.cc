// transport/tcp.cc - tcp://host:port
//
// The first socket of a port binds and listens without SO_REUSEPORT and gets it afterwards; only then do the other
// loops of the process join with share=1. Otherwise a second process of the same user would silently share the port,
// and calls would reach a stranger.
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "loop/uv_loop.h"
#include "transport/network.h"
#include "transport/socket_address.h"
#include "transport/socket_dial.h"
#include "transport/socket_listener.h"
#include "transport/transports.h"

namespace nebula {

namespace {

constexpr std::string_view usage = "tcp://host:port";

bool set(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

Status no_port(const std::string& what) { return invalid_argument(what + ": no port; write " + std::string(usage)); }

Status taken(const std::string& what, uint16_t port) {
  return already_exists(what + ": the address is taken; take another port (0: a free one), or find and stop who has " +
                        "it: ss -ltnp 'sport = :" + std::to_string(port) + "'");
}

class Tcp final : public Transport {
 public:
  Tcp(UvLoop& loop, Log& log) : loop_(loop), log_(log), dials_(loop) {}

  Result<std::unique_ptr<Listener>> listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn) override {
    std::string what = "listen " + at.text();
    if (!at.port) return no_port(what);
    bool is_any = at.host.empty() || at.host == "*";
    std::string host = is_any ? "::" : at.host == "localhost" ? "127.0.0.1" : at.host;
    std::optional<SocketAddress> address = SocketAddress::numeric(host, *at.port);
    if (!address)
      return invalid_argument(what + ": listen on an address of this machine, as 127.0.0.1, or on * for all");
    Result<Fd> socket = open(*address, at, what);
    // A machine without IPv6 has all its addresses under 0.0.0.0.
    if (is_any && !socket.ok() && socket.status().code() != Code::already_exists)
      socket = open(*SocketAddress::numeric("0.0.0.0", *at.port), at, what);
    if (!socket.ok()) return socket.status();
    Url url = at;
    url.port = SocketAddress::local(socket->get()).url().port;
    return SocketListener::make(loop_, log_, std::move(*socket), std::move(url), std::move(on_conn));
  }

  void dial(const Url& to, Done<std::unique_ptr<Conn>> done) override {
    std::string what = "dial " + to.text();
    if (!to.port) return dials_.fail(no_port(what), std::move(done));
    if (to.host.empty() || to.host == "*")
      return dials_.fail(invalid_argument(what + ": no host; write " + std::string(usage)), std::move(done));
    if (std::optional<SocketAddress> address = SocketAddress::numeric(to.host, *to.port))
      return dials_.dial(to, {*address}, std::move(done));
    // No lookup: it would cost a thread, and all machines agree on this name.
    if (to.host == "localhost")
      return dials_.dial(to, {*SocketAddress::numeric("127.0.0.1", *to.port), *SocketAddress::numeric("::1", *to.port)},
                         std::move(done));
    dials_.dial_name(to, *to.port, std::move(done));
  }

 private:
  static Result<Fd> open(const SocketAddress& address, const Url& at, const std::string& what) {
    bool shares = at.option("share") == "1";
    Fd socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int fd = socket.get();
    bool is_open = socket && set(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
                   (address.family() != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)) &&
                   (!shares || set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) && ::bind(fd, address.get(), address.size) == 0 &&
                   ::listen(fd, SOMAXCONN) == 0 && (shares || set(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    if (!is_open) return errno == EADDRINUSE ? taken(what, *at.port) : listen_error(what, errno);
    return socket;
  }

  UvLoop& loop_;
  Log& log_;
  SocketDials dials_;
};

}  // namespace

Driver<Transport> tcp_driver() {
  return {"tcp", usage, [](const Url&, const Env& env) -> Result<std::unique_ptr<Transport>> {
    if (env.loop.uv() == nullptr) return failed_precondition("tcp: there are no sockets in a simulation; use mem:");
    return std::unique_ptr<Transport>(std::make_unique<Tcp>(*env.loop.uv(), env.log));
  }};
}

}  // namespace nebula
