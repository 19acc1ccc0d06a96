// sim/stream.h - those who give the messages of a streaming call, and those who take them, each at its own pace.
#pragma once

#include <memory>

#include "rpc/call.h"
#include "sim/ground.h"

namespace nebula::sim {

// Gives the messages of one way of a call, and then the ending. Says to the ledger what became of it.
class Speaker final : public Source {
 public:
  Speaker(Ground& ground, Call& call, Way way, Ending ending);
  ~Speaker() override;

  Ending& ending() override { return ending_; }

 private:
  Next take(Bytes* message) override;

  Ground& ground_;
  Call& call_;
  const Way way_;
  Ending ending_;
  uint64_t next_ = 0;
  bool is_pausing_ = false;
  bool has_said_all_ = false;
  std::unique_ptr<Timer> pause_;
};

// Gives back the requests of a call as its responses.
class Mirror final : public Source {
 public:
  Mirror(Ground& ground, Call& call, std::unique_ptr<Source> requests, Ending ending);
  ~Mirror() override;

  Ending& ending() override { return ending_; }

 private:
  Next take(Bytes* message) override;

  Ground& ground_;
  Call& call_;
  std::unique_ptr<Source> requests_;
  Ending ending_;
  bool has_said_all_ = false;
};

// Takes messages from a source until its end, or until it has had enough and drops it.
class Taker {
 public:
  // `ended` runs once, with what the source says at its end, or null. It may destroy the taker.
  Taker(Ground& ground, Call& call, Way way, std::unique_ptr<Source> source, uint64_t messages_max,
        Fn<void(Ending*)> ended);
  ~Taker();  // drops what it has not taken

  void start();
  void hurry();  // to what there is to know, without pauses from now on
  std::unique_ptr<Source> give_away() { return std::move(source_); }

 private:
  void read();

  Ground& ground_;
  Call& call_;
  const Way way_;
  std::unique_ptr<Source> source_;
  const uint64_t messages_max_;
  Fn<void(Ending*)> ended_;
  uint64_t taken_ = 0;
  bool is_pausing_ = false;
  bool hurries_ = false;
  std::unique_ptr<Timer> pause_;
};

}  // namespace nebula::sim
