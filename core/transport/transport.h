// transport/transport.h - ordered bytes between two ends. Schemes: tcp unix tls mem fault.
//
// Verbs go down, events come up. No event fires from inside a verb; a verb that fails says so by on_closed, in a
// later step. Whoever gets an event may destroy the sender in it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/done.h"
#include "base/fn.h"
#include "base/result.h"
#include "base/room.h"
#include "base/time.h"
#include "base/url.h"

namespace nebula {

// Who is at the other end.
struct Peer {
  std::string address;  // "tcp://127.0.0.1:4711", "unix:", "mem:price": for people, and for gRPC's peer string
  int64_t uid = -1;     // -1: not known (only a Unix socket tells)
  int64_t pid = -1;
  bool is_encrypted = false;       // by TLS
  std::vector<std::string> names;  // TLS: of its verified certificate, "DNS:example.com", "URI:spiffe://a/b"; else none
  uint64_t connection = 0;         // server: its number, from 1, among those that came to the same loop
  std::shared_ptr<const Room> room = nullptr;  // server: for answers that it does not read
};

struct ConnEvents {
  virtual void on_bytes(Bytes data) = 0;    // never empty
  virtual void on_drained() = 0;            // everything written has left
  virtual void on_closed(Status why) = 0;   // the last event; ok: the peer closed in order

 protected:
  ~ConnEvents() = default;
};

class Conn {
 public:
  virtual ~Conn() = default;                // closes; no event follows
  virtual void start(ConnEvents& up) = 0;   // once, before any other verb; events begin in a later step
  virtual void write(Bytes data) = 0;       // takes it, keeps order, never blocks; leaves at the end of the turn
  virtual size_t unsent() const = 0;        // bytes taken by write that have not left
  virtual void pause(bool on) = 0;          // reading: back-pressure towards the peer
  virtual void limit_unacknowledged(Duration) {}  // lost when what was sent is not acknowledged for so long; if it can
  virtual const Peer& peer() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;            // stops accepting; takes a Unix socket's path away
  virtual Url url() const = 0;              // with the real port

  // Where further loops of this process listen beside this one, which stays meanwhile: another address, that means
  // nothing to others. Connections then arrive at any of them.
  virtual Url share() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;

  // `already_exists` when the address is taken.
  virtual Result<std::unique_ptr<Listener>> listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn) = 0;

  // Answers in a later step. Errors carry the url and the reason. A dial ends with its transport at the latest.
  virtual void dial(const Url& to, Done<std::unique_ptr<Conn>> done) = 0;
};

}  // namespace nebula
