// transport/socket_listener.cc - accept in bounded helpings, and rest when the process is out of descriptors.
#include "transport/socket_listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>

#include "transport/socket_address.h"
#include "transport/uv_conn.h"

namespace nebula {

namespace {

// Connections accepted in a row before the others of the loop get their turn.
constexpr int accepts_in_a_row_max = 8;
// Without a descriptor to accept with, the listener stays readable; so it is not looked at for so long.
constexpr Duration rest_interval = ms(100);

bool is_shortage(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

}  // namespace

Result<std::unique_ptr<Listener>> SocketListener::make(UvLoop& loop, Log& log, Fd socket, Url url, OnConn on_conn) {
  int fd = socket.get();
  std::unique_ptr<SocketListener> listener(
      new SocketListener(loop, log, std::move(socket), std::move(url), std::move(on_conn)));
  TRY(listener->poll_, UvPoll::make(loop, fd, [self = listener.get()](bool, bool) { self->accept_some(); }));
  listener->poll_->want(true, false);
  return std::unique_ptr<Listener>(std::move(listener));
}

SocketListener::SocketListener(UvLoop& loop, Log& log, Fd socket, Url url, OnConn on_conn)
    : loop_(loop), log_(log), socket_(std::move(socket)), url_(std::move(url)), on_conn_(std::move(on_conn)) {
  is_shared_ = url_.scheme == "unix" && url_.option("share");
  if (url_.scheme == "unix" && !is_shared_ && ::lstat(url_.path.c_str(), &file_) != 0) file_ = {};
}

SocketListener::~SocketListener() {
  struct stat file{};
  if (file_.st_ino != 0 && ::lstat(url_.path.c_str(), &file) == 0 && file.st_ino == file_.st_ino &&
      file.st_dev == file_.st_dev)
    ::unlink(url_.path.c_str());
}

// A Unix socket has no SO_REUSEPORT: all loops poll the one that there is, by descriptors of their own.
Url SocketListener::share() {
  Url url = url_;
  is_shared_ = url_.scheme == "unix";
  url.set_option("share", is_shared_ ? std::to_string(socket_.get()) : "1");
  return url;
}

void SocketListener::accept_some() {
  // A loop that nobody polls would collect what the others could serve.
  if (is_shared_ && loop_.is_unattended()) return;
  // The function may destroy the listener; it stands here meanwhile, so that it does not destroy itself.
  OnConn on_conn = std::move(on_conn_);
  Anchor<SocketListener>::Ref self = anchor_.ref();
  for (int accepts = 0; self.get() != nullptr; accepts++) {
    if (accepts == accepts_in_a_row_max) {
      loop_.raise();
      break;
    }
    SocketAddress address;
    address.size = sizeof address.storage;
    Fd socket(::accept4(socket_.get(), address.get(), &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      int error = errno;
      if (is_shortage(error)) rest(error);
      if (is_shortage(error) || error == EAGAIN || error == EBADF || error == EINVAL) break;
      continue;  // an error of the one connection that was to be accepted; the next may be better (accept(2))
    }
    int on = 1;
    if (address.family() != AF_UNIX) ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Peer peer = peer_of(socket.get(), address);
    on_conn(std::make_unique<UvConn>(loop_, std::move(socket), std::move(peer)));
  }
  if (self.get() != nullptr) on_conn_ = std::move(on_conn);
}

void SocketListener::rest(int error) {
  NEBULA_LOG(log_, warn, "listen " + url_.text() + ": " + reason(error) + "; accepts again in 100 ms");
  poll_->want(false, false);
  rest_timer_ = loop_.after(rest_interval, [this] { poll_->want(true, false); });
}

}  // namespace nebula
