// transport/tls_conn.cc - handshake, records, end.
#include "transport/tls_conn.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>

#include "base/limits.h"

namespace nebula {

namespace {

// RFC 8446, 5.1: one record holds so much.
constexpr size_t record_bytes_max = 16u << 10;
// The least to ask memory for, when the peer sends little.
constexpr size_t block_bytes_min = 256;

// RFC 8446, 5.1: the first byte of what a TLS peer says first is that of a handshake or of an alert.
bool begins_tls(const Bytes& data) { return data.data()[0] == 22 || data.data()[0] == 21; }

std::string encrypted_address(const std::string& inner) {
  return inner.starts_with("tcp:") ? "tls:" + inner.substr(4) : inner;
}

}  // namespace

// A BIO: the interface through which OpenSSL wants its bytes. It never blocks, and none is copied twice.
struct TlsConn::Pipe {
  static BIO* make(TlsConn* conn) {
    // The type of all such pipes; made once, and kept.
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "nebula");
      BIO_meth_set_read_ex(made, read);
      BIO_meth_set_write_ex(made, write);
      BIO_meth_set_ctrl(made, control);
      return made;
    }();
    BIO* bio = BIO_new(method);
    NEBULA_ASSERT(bio != nullptr);
    BIO_set_data(bio, conn);
    BIO_set_init(bio, 1);
    return bio;
  }

  static TlsConn& conn_of(BIO* bio) { return *static_cast<TlsConn*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* room, size_t size, size_t* taken) {
    TlsConn& conn = conn_of(bio);
    BIO_clear_retry_flags(bio);
    *taken = 0;
    while (*taken < size && !conn.arrived_.empty()) {
      const Bytes& first = conn.arrived_.front();
      size_t part = std::min(size - *taken, first.size() - conn.first_read_);
      std::memcpy(room + *taken, first.data() + conn.first_read_, part);
      *taken += part;
      conn.first_read_ += part;
      if (conn.first_read_ < first.size()) break;
      conn.arrived_.erase(conn.arrived_.begin());
      conn.first_read_ = 0;
    }
    if (*taken > 0) return 1;
    BIO_set_retry_read(bio);
    return 0;
  }

  static int write(BIO* bio, const char* data, size_t size, size_t* written) {
    TlsConn& conn = conn_of(bio);
    BIO_clear_retry_flags(bio);
    *written = size;
    if (conn.is_reading_) conn.answers_bytes_ += size;
    if (conn.inner_ != nullptr && !conn.has_ended_) conn.inner_->write(Bytes::copy({data, size}));
    return 1;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
};

void TlsConn::SslFree::operator()(ssl_st* ssl) const { SSL_free(ssl); }

TlsConn::TlsConn(Loop& loop, ssl_ctx_st& context, TlsSide side, std::string name, std::unique_ptr<Conn> inner)
    : loop_(loop), inner_(std::move(inner)), ssl_(SSL_new(&context)), peer_(inner_->peer()) {
  NEBULA_ASSERT(ssl_ != nullptr);
  peer_.address = encrypted_address(peer_.address);
  peer_.is_encrypted = true;
  SSL* ssl = ssl_.get();
  SSL_set_app_data(ssl, &notes_);
  BIO* pipe = Pipe::make(this);
  SSL_set_bio(ssl, pipe, pipe);
  if (side == TlsSide::server) {
    SSL_set_accept_state(ssl);
    return;
  }
  SSL_set_connect_state(ssl);
  notes_.name = std::move(name);
  // RFC 6125, 6.4.4: alternative names only, never the subject's common name. RFC 6066, 3: an IP address is no SNI.
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), notes_.name.c_str()) == 1) return;
  ERR_clear_error();  // it is no address, then
  bool is_set = SSL_set1_host(ssl, notes_.name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, notes_.name.c_str()) == 1;
  if (!is_set) notes_.trouble = "\"" + notes_.name + "\" is no name that a certificate could be for";
}

TlsConn::~TlsConn() {
  if (state_ != State::open || has_ended_) return;
  flush();
  if (state_ != State::open) return;
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

// ---- the handshake

void TlsConn::handshake(Fn<void(Status)> then) {
  then_ = std::move(then);
  inner_->start(*this);
  timer_ = loop_.after(limits::tls_handshake_timeout, [this] {
    conclude(unavailable("no TLS handshake within " + std::to_string(limits::tls_handshake_timeout.ms() / 1000) +
                         " s"));
  });
  // A server is spoken to first. OpenSSL asks for its buffers, 35 KiB, not before: there may be many who never speak.
  if (SSL_is_server(ssl_.get())) return;
  loop_.later([self = anchor_.ref()] {
    if (TlsConn* conn = self.get(); conn != nullptr && conn->state_ == State::handshaking) conn->advance();
  });
}

void TlsConn::advance() {
  if (!notes_.trouble.empty()) return conclude(unavailable(notes_.trouble));
  ERR_clear_error();
  int done = SSL_do_handshake(ssl_.get());
  if (done != 1 && SSL_get_error(ssl_.get(), done) == SSL_ERROR_WANT_READ) return;
  conclude(done == 1 ? look_at_peer() : unavailable(tls_failure(ssl_.get())));
}

void TlsConn::conclude(Status status) {
  state_ = status.ok() ? State::open : State::closed;
  timer_.reset();
  // What follows waits for start().
  if (status.ok() && !has_ended_) inner_->pause(true);
  Fn<void(Status)> then = std::move(then_);
  then(std::move(status));
}

Status TlsConn::look_at_peer() {
  const unsigned char* protocol = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &protocol, &size);
  if (std::string_view(reinterpret_cast<const char*>(protocol), size) != "h2")
    return unavailable("no common protocol: the server does not speak HTTP/2 here (ALPN h2)");
  X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate != nullptr) peer_.names = names_of(certificate);
  ERR_clear_error();
  return {};
}

// ---- verbs

void TlsConn::start(ConnEvents& up) {
  NEBULA_ASSERT(up_ == nullptr && state_ == State::open);
  up_ = &up;
  pause(false);
}

void TlsConn::write(Bytes data) {
  if (state_ != State::open || has_ended_ || data.empty()) return;
  owes_drained_ = true;
  queue_bytes_ += data.size();
  queue_.push_back(std::move(data));
  if (std::exchange(flush_is_due_, true)) return;
  loop_.later([self = anchor_.ref()] {
    if (self.get() != nullptr) self.get()->flush();
  });
}

size_t TlsConn::unsent() const { return queue_bytes_ + (inner_ != nullptr ? inner_->unsent() : 0); }

void TlsConn::pause(bool on) {
  is_paused_ = on;
  if (state_ != State::open) return;
  if (!has_ended_) inner_->pause(on);
  if (!on) deliver_later();
}

// ---- what the inner connection tells

void TlsConn::on_bytes(Bytes data) {
  if (state_ == State::closed) return;
  if (!std::exchange(has_heard_, true) && !begins_tls(data))
    return conclude(unavailable("the peer does not speak TLS"));
  arrived_.push_back(std::move(data));
  if (state_ == State::handshaking)
    advance();
  else if (up_ != nullptr && !is_paused_)
    deliver();
}

void TlsConn::on_drained() {
  answers_bytes_ = 0;
  if (!queue_.empty() || state_ != State::open || !std::exchange(owes_drained_, false)) return;
  up_->on_drained();
}

void TlsConn::on_closed(Status why) {
  has_ended_ = true;
  end_ = std::move(why);
  if (state_ == State::handshaking) {
    std::string_view who = has_heard_ ? "" : ", without a word of TLS";
    std::string text = "the peer ended the connection during the TLS handshake" + std::string(who);
    if (!end_.ok()) text.append(": ").append(end_.message());
    return conclude(unavailable(std::move(text)));
  }
  if (state_ == State::open && up_ != nullptr && (!is_paused_ || !end_.ok())) deliver();
}

// ---- in

size_t TlsConn::arrived_bytes() const {
  size_t size = 0;
  for (const Bytes& each : arrived_) size += each.size();
  return size - first_read_;
}

void TlsConn::deliver_later() {
  loop_.later([self = anchor_.ref()] {
    TlsConn* conn = self.get();
    if (conn != nullptr && conn->state_ == State::open && !conn->is_paused_) conn->deliver();
  });
}

void TlsConn::deliver() {
  Anchor<TlsConn>::Ref self = anchor_.ref();
  while (!is_paused_ && read_block()) {
    if (self.get() == nullptr || state_ != State::open) return;
  }
  if (self.get() == nullptr || state_ != State::open || !has_ended_) return;
  // A peer that is gone is no error by itself, even without close_notify, which many do not send: HTTP/2 knows which of
  // its streams were cut short. A reader that is paused hears of the end later, unless it was a bad one.
  if (!is_paused_ || !end_.ok()) close_by_peer(std::move(end_));
}

// Decrypts as much as one block holds, and hands it up.
bool TlsConn::read_block() {
  size_t waiting = arrived_bytes() + static_cast<size_t>(SSL_pending(ssl_.get()));
  if (waiting == 0) return false;
  size_t room = std::clamp(waiting, block_bytes_min, limits::read_buffer_bytes);
  Block* block = Block::make(room);
  if (block == nullptr) return close(resource_exhausted(peer_.address + ": no memory to read into")), false;
  Bytes plain = Bytes::adopt(block->ref());  // keeps it, whatever happens
  block->unref();

  ERR_clear_error();
  size_t size = 0, part = 0;
  int done = 1;
  is_reading_ = true;
  while (size < room && (done = SSL_read_ex(ssl_.get(), block->data() + size, room - size, &part)) == 1) size += part;
  is_reading_ = false;
  int error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), done);
  block->set_size(size);

  if (size > 0) {
    has_read_ = true;
    Anchor<TlsConn>::Ref self = anchor_.ref();
    up_->on_bytes(Bytes::adopt(block->ref()));
    if (self.get() == nullptr || state_ != State::open) return false;
  }
  if (answers_bytes_ > limits::tls_answers_bytes_max)
    return close(resource_exhausted(peer_.address + ": asks for more answers of TLS than it reads")), false;
  if (error == SSL_ERROR_NONE) return true;
  if (error == SSL_ERROR_ZERO_RETURN) return close_by_peer({}), false;  // close_notify
  if (error != SSL_ERROR_WANT_READ) return close(unavailable(tls_failure(ssl_.get()))), false;
  return false;
}

// ---- out

// Small writes of one turn share a record: each costs 22 to 29 bytes, and a cipher's start.
void TlsConn::flush() {
  flush_is_due_ = false;
  if (state_ != State::open) return;
  char record[record_bytes_max];
  size_t filled = 0;
  for (const Bytes& data : std::exchange(queue_, {})) {
    for (size_t from = 0; from < data.size();) {
      size_t part = std::min(data.size() - from, sizeof record - filled);
      std::memcpy(record + filled, data.data() + from, part);
      from += part;
      filled += part;
      if (filled == sizeof record) encrypt(record, std::exchange(filled, 0));
    }
  }
  queue_bytes_ = 0;
  if (filled > 0) encrypt(record, filled);
}

void TlsConn::encrypt(const char* data, size_t size) {
  ERR_clear_error();
  size_t written = 0;
  // The pipe takes all; what is left is that OpenSSL has no memory, or has seen the connection fail while reading,
  // which is said there.
  if (SSL_write_ex(ssl_.get(), data, size, &written) != 1) ERR_clear_error();
}

// ---- the end

// In TLS 1.3 a client is done with its handshake before the server has looked at the client's certificate, and not
// every server says what it saw.
void TlsConn::close_by_peer(Status why) {
  if (has_read_ || !notes_.is_asked_for_certificate) return close(std::move(why));
  close(unavailable(SSL_get_certificate(ssl_.get()) == nullptr
                        ? "client certificate missing: the server asked for one, and hung up"
                        : "the server hung up when it had seen our certificate"));
}

void TlsConn::close(Status why) {
  state_ = State::closed;
  if (why.ok() && !has_ended_) SSL_shutdown(ssl_.get());  // answers the peer's close_notify with ours
  ERR_clear_error();
  inner_.reset();
  arrived_.clear();
  queue_.clear();
  queue_bytes_ = 0;
  up_->on_closed(std::move(why));
}

}  // namespace nebula
