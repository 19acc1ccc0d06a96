// kit/messages.h - both ends of a stream of messages: a source that the test fills, a reader that the test paces.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rpc/call.h"

namespace nebula::kit {

// What a source gives, filled by the test; it may be filled before there is one, and outlives it.
class Tray {
 public:
  ~Tray() {
    if (source_ != nullptr) source_->tray = nullptr;
  }

  // Once for each call; the next one begins where this one has stopped.
  std::unique_ptr<Source> source() {
    std::unique_ptr<Out> source = std::make_unique<Out>(*this);
    source_ = source.get();
    return source;
  }

  void put(std::string_view message) { add(message, false); }
  void put_compressed(std::string_view message) { add(message, true); }
  void put(std::string_view message, int times) {
    for (; times > 0; times--) put(message);
  }
  void end(Ending ending = {}) {
    ending_ = std::move(ending);
    has_ended_ = true;
    tell();
  }

  bool is_held() const { return source_ != nullptr; }  // somebody has the source
  size_t left() const { return messages_.size(); }
  int taken = 0;
  bool was_read_to_the_end = false;
  bool keeps = false;  // what was taken, for another try
  bool is_committed = false;
  Fn<void()> then_dropped;

 private:
  struct Message {
    Bytes bytes;
    bool is_to_be_compressed;
  };
  struct Out final : public Source {
    explicit Out(Tray& from) : tray(&from) {}
    ~Out() override {
      if (tray == nullptr) return;
      tray->source_ = nullptr;
      if (tray->then_dropped) tray->then_dropped();
    }
    Ending& ending() override { return tray->ending_; }
    Next take(Bytes* message) override {
      if (tray->messages_.empty()) {
        tray->was_read_to_the_end = tray->has_ended_;
        return tray->has_ended_ ? Next::end : Next::later;
      }
      *message = tray->messages_.front().bytes;
      want_compression(tray->messages_.front().is_to_be_compressed);
      if (tray->keeps) tray->kept_.push_back(tray->messages_.front());
      tray->messages_.pop_front();
      tray->taken++;
      return Next::message;
    }
    bool rewind() override {
      if (!tray->keeps) return false;
      tray->messages_.insert(tray->messages_.begin(), tray->kept_.begin(), tray->kept_.end());
      tray->kept_.clear();
      return true;
    }
    void commit() override { tray->is_committed = true; }
    using Source::ready;
    Tray* tray;
  };

  void add(std::string_view message, bool is_to_be_compressed) {
    messages_.push_back({Bytes::copy(message), is_to_be_compressed});
    tell();
  }
  void tell() {
    if (source_ != nullptr) source_->ready();
  }

  std::deque<Message> messages_, kept_;
  Ending ending_;
  bool has_ended_ = false;
  Out* source_ = nullptr;
};

// Takes messages from a source as they come, or as many as the test allows.
class Reader {
 public:
  void start(std::unique_ptr<Source> source) {
    source_ = std::move(source);
    source_->on_ready([this] { read(); });
    read();
  }
  void allow(size_t count) {
    allowed += count;
    if (source_ != nullptr) read();
  }
  void drop() { source_.reset(); }

  bool is_open() const { return source_ != nullptr; }
  // "UNAVAILABLE: why", "OK", or "open".
  std::string end() const { return ending ? ending->status.text() : "open"; }

  std::vector<std::string> messages;
  size_t allowed = SIZE_MAX / 2;  // so many more
  std::optional<Ending> ending;
  Fn<void()> then_message, then_end;

 private:
  void read() {
    while (source_ != nullptr && allowed > 0) {
      Bytes message;
      switch (source_->next(&message)) {
        case Source::Next::later: return;
        case Source::Next::message:
          allowed--;
          messages.emplace_back(message.view());
          if (then_message) then_message();
          break;
        case Source::Next::end: {
          std::unique_ptr<Source> ended = std::move(source_);
          ending = std::move(ended->ending());
          if (then_end) then_end();
          return;
        }
      }
    }
  }

  std::unique_ptr<Source> source_;
};

}  // namespace nebula::kit
