// transport/socket_dial.cc - lookup, then attempts one after the other, of which the first to succeed wins.
//
// Happy eyeballs (RFC 8305, gRFC A61): an address that does not answer within a quarter of a second is not waited for,
// nor given up; the next is tried beside it.
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

// RFC 8305, 4: the families take turns, beginning with that of the first.
std::vector<SocketAddress> interleaved(std::vector<SocketAddress> addresses) {
  std::vector<SocketAddress> turns;
  int wanted = addresses.empty() ? AF_UNSPEC : addresses.front().family();
  while (!addresses.empty()) {
    auto next = std::find_if(addresses.begin(), addresses.end(),
                             [wanted](const SocketAddress& each) { return each.family() == wanted; });
    if (next == addresses.end()) next = addresses.begin();
    wanted = next->family() == AF_INET ? AF_INET6 : AF_INET;
    turns.push_back(*next);
    addresses.erase(next);
  }
  return turns;
}

class SocketDials::Dial {
 public:
  Dial(SocketDials& owner, const Url& to, DialDone done)
      : owner_(owner), loop_(owner.loop_), to_(to), done_(std::move(done)) {
    deadline_ = loop_.after(limits::connect_timeout, [this] {
      fail(addresses_.empty() ? "the name was not found in time" : reason(ETIMEDOUT));
    });
  }

  DialDone take_done() { return std::move(done_); }
  const Url& to() const { return to_; }

  void look_up(uint16_t port);
  void connect_later(std::vector<SocketAddress> addresses);

 private:
  class Attempt;

  // Outlives the dial: it belongs to libuv's thread pool until the answer.
  struct Lookup {
    uv_getaddrinfo_t request;
    Anchor<Dial>::Ref dial;
  };

  static void on_looked_up(uv_getaddrinfo_t* request, int error, addrinfo* found);
  void connect_next();
  void on_attempt_over(Attempt& attempt, int error);
  void fail(std::string_view why);

  SocketDials& owner_;
  UvLoop& loop_;
  Url to_;
  DialDone done_;
  std::vector<SocketAddress> addresses_;
  size_t next_ = 0;  // of addresses_
  std::vector<std::unique_ptr<Attempt>> attempts_;
  int error_ = 0;    // of the last attempt that failed
  std::unique_ptr<Timer> deadline_;
  std::unique_ptr<Timer> stagger_;
  Anchor<Dial> anchor_{*this};
};

// One address. Over once; its dial destroys it then.
class SocketDials::Dial::Attempt {
 public:
  Attempt(Dial& dial, const SocketAddress& address) : dial_(dial), address_(address) {}

  void start() {
    socket_ = Fd(::socket(address_.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_) return dial_.on_attempt_over(*this, errno);
    connect();
  }

  std::unique_ptr<Conn> take() {
    poll_.reset();
    int on = 1;
    if (address_.family() != AF_UNIX) ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Peer peer = peer_of(socket_.get(), address_);
    return std::make_unique<UvConn>(dial_.loop_, std::move(socket_), std::move(peer));
  }

 private:
  void connect() {
    if (::connect(socket_.get(), address_.get(), address_.size) == 0) return dial_.on_attempt_over(*this, 0);
    if (errno == EAGAIN) {
      retry_ = dial_.loop_.after(full_backlog_wait, [this] { connect(); });
      return;
    }
    if (errno != EINPROGRESS) return dial_.on_attempt_over(*this, errno);
    Result<std::unique_ptr<UvPoll>> poll =
        UvPoll::make(dial_.loop_, socket_.get(), [this](bool, bool) { on_writable(); });
    if (!poll.ok()) return dial_.on_attempt_over(*this, ENOMEM);
    poll_ = std::move(*poll);
    poll_->want(false, true);
  }

  void on_writable() {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    dial_.on_attempt_over(*this, error);
  }

  Dial& dial_;
  const SocketAddress address_;
  Fd socket_;
  std::unique_ptr<UvPoll> poll_;
  std::unique_ptr<Timer> retry_;
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
  }
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
  if (error == 0) return dial->connect_later(std::move(addresses));
  // libuv calls us from its own run; answers are given at the turn's end like all others.
  dial->loop_.later([self = std::move(lookup->dial), error] {
    if (self.get() != nullptr) self.get()->fail(uv_strerror(error));
  });
}

void SocketDials::Dial::connect_later(std::vector<SocketAddress> addresses) {
  addresses_ = interleaved(std::move(addresses));
  loop_.later([self = anchor_.ref()] {
    if (self.get() != nullptr) self.get()->connect_next();
  });
}

void SocketDials::Dial::connect_next() {
  stagger_.reset();
  if (next_ < addresses_.size()) {
    attempts_.push_back(std::make_unique<Attempt>(*this, addresses_[next_++]));
    if (next_ < addresses_.size()) stagger_ = loop_.after(limits::dial_stagger, [this] { connect_next(); });
    return attempts_.back()->start();
  }
  if (attempts_.empty()) fail(error_ == 0 ? "the name has no address" : reason(error_));
}

void SocketDials::Dial::on_attempt_over(Attempt& attempt, int error) {
  if (error == 0) return owner_.finish(*this, attempt.take());
  error_ = error;
  std::erase_if(attempts_, [&attempt](const std::unique_ptr<Attempt>& each) { return each.get() == &attempt; });
  connect_next();  // it is not waited for who has said no
}

void SocketDials::Dial::fail(std::string_view why) {
  owner_.finish(*this, unavailable("dial " + to_.text() + ": " + std::string(why)));
}

}  // namespace nebula
