// transport/socket_dial.cc - lookup, connect, wait, next address.
#include "transport/socket_dial.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/limits.h"
#include "loop/anchor.h"
#include "transport/uv_conn.h"

namespace nebula {

namespace {

// A Unix socket whose backlog is full says so at once and tells nobody when there is room again.
constexpr Duration full_backlog_wait = ms(5);

}  // namespace

class SocketDials::Dial {
 public:
  Dial(SocketDials& owner, const Url& to, DialDone done)
      : owner_(owner), loop_(owner.loop_), to_(to), done_(std::move(done)),
        deadline_(loop_.now() + limits::connect_timeout) {}

  DialDone take_done() { return std::move(done_); }
  const Url& to() const { return to_; }

  void look_up(uint16_t port);
  void connect_later(std::vector<SocketAddress> addresses);

 private:
  // Outlives the dial: it belongs to libuv's thread pool until the answer.
  struct Lookup {
    uv_getaddrinfo_t request;
    Anchor<Dial>::Ref dial;
  };

  static void on_looked_up(uv_getaddrinfo_t* request, int error, addrinfo* found);
  void connect_next();
  void connect();
  void on_writable();
  void on_attempt_over(int error);
  void fail(std::string_view why);

  std::string what() const { return "dial " + to_.text(); }

  SocketDials& owner_;
  UvLoop& loop_;
  Url to_;
  DialDone done_;
  Time deadline_;
  std::vector<SocketAddress> addresses_;
  size_t next_ = 0;  // of addresses_
  int error_ = 0;    // of the last attempt
  Fd socket_;
  std::unique_ptr<UvPoll> poll_;
  std::unique_ptr<Timer> timer_;
  Anchor<Dial> anchor_{*this};
};

SocketDials::SocketDials(UvLoop& loop) : loop_(loop), answers_(loop) {}

SocketDials::~SocketDials() {
  while (!open_.empty()) {
    std::unique_ptr<Dial> dial = std::move(open_.back());
    open_.pop_back();
    dial->take_done()(unavailable("dial " + dial->to().text() + ": given up, for the engine is closing"));
  }
}

void SocketDials::dial(const Url& to, std::vector<SocketAddress> addresses, DialDone done) {
  add(to, std::move(done)).connect_later(std::move(addresses));
}

void SocketDials::dial_name(const Url& to, uint16_t port, DialDone done) { add(to, std::move(done)).look_up(port); }

SocketDials::Dial& SocketDials::add(const Url& to, DialDone done) {
  open_.push_back(std::make_unique<Dial>(*this, to, std::move(done)));
  return *open_.back();
}

void SocketDials::finish(Dial& dial, Result<std::unique_ptr<Conn>> result) {
  DialDone done = dial.take_done();
  std::erase_if(open_, [&dial](const std::unique_ptr<Dial>& open) { return open.get() == &dial; });
  done(std::move(result));
}

void SocketDials::Dial::look_up(uint16_t port) {
  Lookup* lookup = new Lookup{{}, anchor_.ref()};
  lookup->request.data = lookup;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  // The first look-up starts libuv's threads. They inherit the mask, and signals are for the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = uv_getaddrinfo(loop_.handle(), &lookup->request, on_looked_up, to_.host.c_str(),
                             std::to_string(port).c_str(), &hints);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    delete lookup;
    loop_.later([self = anchor_.ref(), error] {
      if (self.get() != nullptr) self.get()->fail(uv_strerror(error));
    });
    return;
  }
  timer_ = loop_.after(limits::connect_timeout, [this] { fail("the name was not found in time"); });
}

void SocketDials::Dial::on_looked_up(uv_getaddrinfo_t* request, int error, addrinfo* found) {
  std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(request->data));
  Dial* dial = lookup->dial.get();
  std::vector<SocketAddress> addresses;
  for (addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    SocketAddress address;
    address.size = entry->ai_addrlen;
    std::memcpy(address.get(), entry->ai_addr, entry->ai_addrlen);
    addresses.push_back(address);
  }
  uv_freeaddrinfo(found);
  if (dial == nullptr) return;
  dial->timer_.reset();
  if (error == 0) return dial->connect_later(std::move(addresses));
  // libuv calls us from its own run; answers are given at the turn's end like all others.
  dial->loop_.later([self = std::move(lookup->dial), error] {
    if (self.get() != nullptr) self.get()->fail(uv_strerror(error));
  });
}

void SocketDials::Dial::connect_later(std::vector<SocketAddress> addresses) {
  addresses_ = std::move(addresses);
  loop_.later([self = anchor_.ref()] {
    if (self.get() != nullptr) self.get()->connect_next();
  });
}

void SocketDials::Dial::connect_next() {
  if (next_ == addresses_.size()) return fail(error_ == 0 ? "the name has no address" : reason(error_));
  const SocketAddress& address = addresses_[next_];
  socket_ = Fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_) return on_attempt_over(errno);
  connect();
}

void SocketDials::Dial::connect() {
  const SocketAddress& address = addresses_[next_];
  if (::connect(socket_.get(), address.get(), address.size) == 0) return on_attempt_over(0);
  if (errno == EAGAIN && loop_.now() < deadline_) {
    timer_ = loop_.after(full_backlog_wait, [this] { connect(); });
    return;
  }
  if (errno != EINPROGRESS) return on_attempt_over(errno);
  Result<std::unique_ptr<UvPoll>> poll = UvPoll::make(loop_, socket_.get(), [this](bool, bool) { on_writable(); });
  if (!poll.ok()) return on_attempt_over(ENOMEM);
  poll_ = std::move(*poll);
  poll_->want(false, true);
  // An address that swallows what is sent to it leaves their share of the time to those behind it.
  Duration left = std::max(deadline_ - loop_.now(), Duration{});
  Duration share = nanos(left.ns / static_cast<int64_t>(addresses_.size() - next_));
  timer_ = loop_.after(share, [this] { on_attempt_over(ETIMEDOUT); });
}

void SocketDials::Dial::on_writable() {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  on_attempt_over(error);
}

void SocketDials::Dial::on_attempt_over(int error) {
  timer_.reset();
  poll_.reset();
  if (error != 0) {
    error_ = error;
    socket_.reset();
    next_++;
    return connect_next();
  }
  const SocketAddress& address = addresses_[next_];
  int on = 1;
  if (address.family() != AF_UNIX) ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Peer peer = peer_of(socket_.get(), address);
  owner_.finish(*this, std::unique_ptr<Conn>(std::make_unique<UvConn>(loop_, std::move(socket_), std::move(peer))));
}

void SocketDials::Dial::fail(std::string_view why) {
  owner_.finish(*this, unavailable(what() + ": " + std::string(why)));
}

}  // namespace nebula
