// kit/conns.h - ends of connections that remember what happened to them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kit/world.h"

namespace nebula::kit {

// Owns its conn and starts it. Writes down every event.
class End final : public ConnEvents {
 public:
  explicit End(std::unique_ptr<Conn> conn) : conn(std::move(conn)) { this->conn->start(*this); }

  void on_bytes(Bytes data) override {
    received.append(data.view());
    chunks.push_back(data.size());
    if (then) then();
  }
  void on_drained() override {
    drained++;
    if (on_drain) on_drain();
  }
  void on_closed(Status why) override {
    closed = why;
    if (on_close) on_close();
  }

  void write(std::string_view text) { conn->write(Bytes::copy(text)); }

  std::unique_ptr<Conn> conn;
  std::string received;
  std::vector<size_t> chunks;  // their sizes
  int drained = 0;
  std::optional<Status> closed;
  Fn<void()> then;  // after each on_bytes
  Fn<void()> on_drain;
  Fn<void()> on_close;
};

// Both ends of one connection, and what it came through.
struct Pair {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<End> client, server;
  std::optional<Status> error;  // of the dial

  bool is_up() const { return client != nullptr && server != nullptr; }
};

// Listens at `at` and dials `to`, or what it listens at; run the loop until is_up. The pair must stay where it is.
void connect(Network& network, Pair& pair, const Url& at, std::optional<Url> to = {});

}  // namespace nebula::kit
