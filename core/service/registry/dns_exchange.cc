// service/registry/dns_exchange.cc - a datagram, and a connection where the answer does not fit one.
#include "service/registry/dns_exchange.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/limits.h"
#include "transport/network.h"

namespace nebula {

namespace {

uint16_t drawn_id() {
  uint16_t id = 0;
  NEBULA_ASSERT(::getrandom(&id, sizeof id, 0) == sizeof id);
  return id;
}

}  // namespace

DnsExchange::DnsExchange(const Env& env, std::vector<SocketAddress> servers, std::string name, DnsType type,
                         Done<DnsAnswer> done)
    : env_(env), servers_(std::move(servers)), name_(std::move(name)), type_(type), done_(std::move(done)) {
  env_.loop.later([self = anchor_.ref()] {
    if (DnsExchange* exchange = self.get()) exchange->try_next();
  });
}

void DnsExchange::try_next() {
  leave();
  if (tries_ == servers_.size() * limits::dns_rounds) return done_(unavailable(std::move(failure_)));
  tries_++;
  std::optional<std::string> query = make_dns_query(drawn_id(), name_, type_);
  if (!query)
    return done_(invalid_argument("\"" + name_ + "\" is no name of DNS: a part between its dots has 1 to 63 characters, and all has 253"));
  query_ = std::move(*query);
  timer_ = env_.loop.after(limits::dns_try_timeout, [this] { fail_try("it does not answer"); });
  send();
}

void DnsExchange::send() {
  socket_ = Fd(::socket(server().family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // Connected: the kernel drops what others send, and tells when nobody listens there.
  if (!socket_ || ::connect(socket_.get(), server().get(), server().size) != 0 ||
      ::send(socket_.get(), query_.data(), query_.size(), MSG_NOSIGNAL) < 0)
    return fail_try(reason(errno));
  watch_ = env_.loop.watch(socket_.get(), [this] { on_readable(); });
}

// One datagram a turn; the loop calls again while there are more.
void DnsExchange::on_readable() {
  char datagram[4096];
  ssize_t size = ::recv(socket_.get(), datagram, sizeof datagram, 0);
  if (size >= 0) return on_message({datagram, static_cast<size_t>(size)}, false);
  if (errno != EAGAIN && errno != EINTR) fail_try(reason(errno));
}

void DnsExchange::on_message(std::string_view message, bool by_tcp) {
  if (!is_dns_reply(message, query_)) {
    if (by_tcp) fail_try("it answers another question");
    return;
  }
  if (is_dns_truncated(message) && !by_tcp) return ask_by_tcp();
  Result<DnsAnswer> answer = parse_dns_reply(message, type_);
  if (!answer.ok()) return fail_try(answer.status().message());
  leave();
  done_(std::move(answer));
}

void DnsExchange::fail_try(std::string_view why) {
  failure_ = server().url().authority() + ": " + std::string(why);
  try_next();
}

void DnsExchange::leave() {
  watch_.reset();
  socket_.reset();
  timer_.reset();
  conn_.reset();
  received_.clear();
}

// ---- by TCP: two bytes of length before each message (RFC 1035, 4.2.2)

void DnsExchange::ask_by_tcp() {
  watch_.reset();
  socket_.reset();
  env_.network.dial(server().url(), [self = anchor_.ref(), tried = tries_](Result<std::unique_ptr<Conn>>&& conn) {
    DnsExchange* exchange = self.get();
    if (exchange == nullptr || exchange->tries_ != tried || !exchange->done_) return;
    if (!conn.ok()) return exchange->fail_try(conn.status().message());
    exchange->conn_ = std::move(*conn);
    exchange->conn_->start(*exchange);
    size_t size = exchange->query_.size();
    std::string framed = {static_cast<char>(size >> 8), static_cast<char>(size & 255)};
    exchange->conn_->write(Bytes::copy(framed + exchange->query_));
  });
}

void DnsExchange::on_bytes(Bytes data) {
  received_ += data.view();
  if (received_.size() < 2) return;
  size_t size = static_cast<size_t>(static_cast<unsigned char>(received_[0])) << 8 | static_cast<unsigned char>(received_[1]);
  if (received_.size() < 2 + size) return;
  std::string message = received_.substr(2, size);
  on_message(message, true);
}

void DnsExchange::on_closed(Status why) {
  fail_try(why.ok() ? "it closes the connection before its answer" : why.message());
}

}  // namespace nebula
