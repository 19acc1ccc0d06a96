// transport/uv_conn.h - a connection over a socket of ours; what tcp and unix share.
//
// The socket is watched by a UvPoll and read and written by our own system calls: libuv's writes would raise SIGPIPE.
// What a turn writes leaves in one sendmsg at its end. Lives on one loop.
#pragma once

#include <vector>

#include "loop/anchor.h"
#include "loop/uv_loop.h"
#include "transport/transport.h"

namespace nebula {

class UvConn final : public Conn {
 public:
  // The socket is connected and non-blocking.
  UvConn(UvLoop& loop, Fd socket, Peer peer);
  ~UvConn() override;  // what was written this turn still gets one try

  void start(ConnEvents& up) override;
  void write(Bytes data) override;
  size_t unsent() const override { return unsent_; }
  void pause(bool on) override;
  void limit_unacknowledged(Duration time) override;
  const Peer& peer() const override { return peer_; }

 private:
  void update_wants();
  void flush_later();
  void flush();
  bool send_all();
  void take_sent(size_t size);
  void read();
  void close(Status why);

  UvLoop& loop_;
  Peer peer_;
  Fd socket_;
  std::unique_ptr<UvPoll> poll_;  // null before start and after the end
  ConnEvents* up_ = nullptr;

  std::vector<Bytes> queue_;
  size_t first_ = 0;       // of queue_, that has not left
  size_t first_sent_ = 0;  // bytes of it that have
  size_t unsent_ = 0;
  Status write_error_;     // the peer takes no more; what it sent before is still read

  bool is_paused_ = false;
  bool waits_for_room_ = false;
  bool flush_is_due_ = false;
  bool is_closed_ = false;
  Anchor<UvConn> anchor_{*this};
};

}  // namespace nebula
