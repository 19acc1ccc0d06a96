// transport/tls_conn.h - a Conn around a Conn: what goes through it is encrypted.
//
// OpenSSL without I/O of its own: it reads what the inner connection brought, and writes to it. First comes the
// handshake, which has to end before the connection is anybody's; then start and the rest. Lives on one loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "loop/anchor.h"
#include "loop/loop.h"
#include "transport/tls_options.h"
#include "transport/tls_words.h"
#include "transport/transport.h"

struct bio_st;
struct ssl_ctx_st;

namespace nebula {

class TlsConn final : public Conn, private ConnEvents {
 public:
  // `name`: what the server's certificate must be for, a name or an IP address; a server has none to check.
  TlsConn(Loop& loop, ssl_ctx_st& context, TlsSide side, std::string name, std::unique_ptr<Conn> inner);
  ~TlsConn() override;  // what was written still goes out, and close_notify behind it

  // Before all other verbs. Answers once, in a later step: ok, or why there will be no connection, of which nothing but
  // its destruction is to follow.
  void handshake(Fn<void(Status)> then);

  void start(ConnEvents& up) override;
  void write(Bytes data) override;
  size_t unsent() const override;
  void pause(bool on) override;
  void limit_unacknowledged(Duration time) override {
    if (inner_ != nullptr) inner_->limit_unacknowledged(time);
  }
  const Peer& peer() const override { return peer_; }

 private:
  enum class State : uint8_t { handshaking, open, closed };
  struct Pipe;                                // OpenSSL's end: what it reads from and writes to
  struct SslFree { void operator()(ssl_st* ssl) const; };

  void on_bytes(Bytes data) override;
  void on_drained() override;
  void on_closed(Status why) override;

  void advance();                             // the handshake
  void conclude(Status status);               // of the handshake
  Status look_at_peer();
  void deliver_later();
  void deliver();
  bool read_block();                          // true: there may be more
  void flush();
  void encrypt(const char* data, size_t size);
  void close(Status why);
  void close_by_peer(Status why);
  size_t arrived_bytes() const;

  Loop& loop_;
  TlsNotes notes_;
  std::unique_ptr<Conn> inner_;               // null once we have closed it
  std::unique_ptr<ssl_st, SslFree> ssl_;
  Peer peer_;
  ConnEvents* up_ = nullptr;
  Fn<void(Status)> then_;                     // of the handshake
  std::unique_ptr<Timer> timer_;              // likewise
  State state_ = State::handshaking;

  std::vector<Bytes> arrived_;                // encrypted, and not yet read by OpenSSL
  size_t first_read_ = 0;                     // bytes of the first of them that are
  std::vector<Bytes> queue_;                  // plain, to be encrypted at the end of the turn
  size_t queue_bytes_ = 0;
  size_t answers_bytes_ = 0;                  // that OpenSSL has written by itself since all was sent
  Status end_;                                // what the inner connection said last
  bool has_heard_ = false;                    // the peer has said something
  bool has_read_ = false;                     // and something that is for who stands above
  bool is_reading_ = false;                   // OpenSSL is
  bool is_paused_ = false;
  bool owes_drained_ = false;                 // since the last write; what TLS itself writes is nobody's
  bool flush_is_due_ = false;
  bool has_ended_ = false;                    // the inner connection
  Anchor<TlsConn> anchor_{*this};
};

}  // namespace nebula
