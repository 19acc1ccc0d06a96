// service/widening.h - a further connection of a node that has one: dialled, and not at once again where that was no use.
//
// Some servers take one connection of each client, and no more: their one is none the worse for it. Owned by the node,
// on its loop.
#pragma once

#include <memory>

#include "base/driver.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/url.h"
#include "loop/anchor.h"
#include "loop/loop.h"
#include "transport/transport.h"

namespace nebula {

class Widening {
 public:
  // `dialled` gets what has come of it. `due`: what was asked for too early may be asked for again.
  Widening(const Env& env, Fn<void(Result<std::unique_ptr<Conn>>)> dialled, Fn<void()> due);

  // Of a node with so many calls in flight, and so many that have begun in all. False: not yet.
  bool start(const Url& address, size_t inflight, uint64_t begun);
  bool is_under_way() const { return is_under_way_; }  // until the connection is used, or has come to nothing
  void on_used() { is_under_way_ = false; }
  void on_failed();                // before it was used
  void on_lost();                  // one of several connections

 private:
  void pause(Duration least);
  bool flows(uint64_t begun);

  Env env_;
  Fn<void(Result<std::unique_ptr<Conn>>)> dialled_;
  Fn<void()> due_;
  bool is_under_way_ = false;
  uint64_t begun_ = 0;           // calls, when it was looked at them
  Time looked_{INT64_MIN / 2};
  bool has_started_ = false;     // since the last pause
  Duration pause_;               // the next one
  Time paused_{INT64_MIN / 2};   // the last time
  Time free_;                    // from when on it may start
  std::unique_ptr<Timer> timer_; // set when somebody waits for that
  Anchor<Widening> anchor_{*this};
};

}  // namespace nebula
