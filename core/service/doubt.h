// service/doubt.h - whether a connection still has a peer, when calls on it end in silence.
//
// What is lost without a word, as by a partition, TCP sends again in pauses that double: long after all is well a
// connection may still be silent. One that has a peer, however busy, answers a PING.
#pragma once

#include <memory>

#include "http2/stream.h"
#include "loop/loop.h"

namespace nebula {

// Of one connection, on its loop. The session outlives it.
class Doubt {
 public:
  // `dead` is the last call.
  Doubt(Clock& clock, Session& session, Fn<void()> dead)
      : clock_(clock), session_(session), dead_(std::move(dead)) {}

  // A call that began then has ended, and not by the peer's word.
  void on_call_lost(Time began);

 private:
  void judge();

  Clock& clock_;
  Session& session_;
  Fn<void()> dead_;
  Time asked_{INT64_MIN / 2};
  Time heard_;                    // when it had answered the last one
  int answered_ = 0;              // PINGs in a row, without anything else from the peer between them
  std::unique_ptr<Timer> timer_;  // set while an answer is awaited
};

}  // namespace nebula
