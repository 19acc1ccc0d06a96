// transport/unix.cc - unix:/path
//
// The file is for its user alone (mode 0600), and each end learns the other's uid and pid from the system. With
// share=<descriptor> of a socket that listens in this process it is listened at that one (Listener::share).
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "base/limits.h"
#include "loop/uv_loop.h"
#include "transport/network.h"
#include "transport/socket_address.h"
#include "transport/socket_dial.h"
#include "transport/socket_listener.h"
#include "transport/transports.h"

namespace nebula {

namespace {

Status check_path(const std::string& what, const std::string& path) {
  if (path.empty()) return invalid_argument(what + ": no path; write unix:/path");
  if (path.size() <= limits::unix_path_max) return {};
  return invalid_argument(what + ": the path has " + std::to_string(path.size()) + " bytes, and a socket's may have " +
                          std::to_string(limits::unix_path_max));
}

// A process that was killed leaves its socket's file behind; nobody answers there. A process between bind and listen
// looks the same for some microseconds: who starts two servers on one path at the same moment may get the later one.
bool is_left_behind(const SocketAddress& address, const std::string& path) {
  struct stat file{};
  if (::lstat(path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return probe && ::connect(probe.get(), address.get(), address.size) != 0 && errno == ECONNREFUSED;
}

class Unix final : public Transport {
 public:
  Unix(UvLoop& loop, Log& log) : loop_(loop), log_(log), dials_(loop) {}

  Result<std::unique_ptr<Listener>> listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn) override {
    std::string what = "listen " + at.text();
    if (Status status = check_path(what, at.path); !status.ok()) return status;
    if (std::optional<std::string_view> descriptor = at.option("share")) {
      Fd shared = share_of(*descriptor);
      if (!shared) return invalid_argument(what + ": share names no socket that listens");
      return SocketListener::make(loop_, log_, std::move(shared), at, std::move(on_conn));
    }
    SocketAddress address = SocketAddress::unix_path(at.path);
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) return listen_error(what, errno);
    // The mode of the socket becomes that of its file, so there is no moment at which others could connect.
    ::fchmod(socket.get(), 0600);
    int error = bind(socket, address);
    if (error == EADDRINUSE && is_left_behind(address, at.path)) {
      ::unlink(at.path.c_str());
      error = bind(socket, address);
    }
    if (error == EADDRINUSE)
      return already_exists(what + ": the path is taken; take another, or find and stop who has it: ss -lxp src " +
                            at.path);
    if (error != 0 || ::listen(socket.get(), SOMAXCONN) != 0) return listen_error(what, error != 0 ? error : errno);
    return SocketListener::make(loop_, log_, std::move(socket), at, std::move(on_conn));
  }

  void dial(const Url& to, Done<std::unique_ptr<Conn>> done) override {
    if (Status status = check_path("dial " + to.text(), to.path); !status.ok())
      return dials_.fail(std::move(status), std::move(done));
    dials_.dial(to, {SocketAddress::unix_path(to.path)}, std::move(done));
  }

 private:
  static Fd share_of(std::string_view descriptor) {
    int fd = -1;
    std::from_chars(descriptor.data(), descriptor.data() + descriptor.size(), fd);
    int listens = 0;
    socklen_t size = sizeof listens;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) return {};
    return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  }

  // 0, or the error.
  static int bind(const Fd& socket, const SocketAddress& address) {
    return ::bind(socket.get(), address.get(), address.size) == 0 ? 0 : errno;
  }

  UvLoop& loop_;
  Log& log_;
  SocketDials dials_;
};

}  // namespace

Driver<Transport> unix_driver() {
  return {"unix", "unix:/path", [](const Url&, const Env& env) -> Result<std::unique_ptr<Transport>> {
    if (env.loop.uv() == nullptr) return failed_precondition("unix: there are no sockets in a simulation; use mem:");
    return std::unique_ptr<Transport>(std::make_unique<Unix>(*env.loop.uv(), env.log));
  }};
}

}  // namespace nebula
