// transport/answers.h - answers to dials that are known at once and must not be given before a later step.
//
// Owned by a transport. What still waits when the transport goes is answered then, since no dial outlives it.
#pragma once

#include <utility>
#include <vector>

#include "loop/anchor.h"
#include "loop/loop.h"
#include "transport/transport.h"

namespace nebula {

class Answers {
 public:
  using DialDone = Done<std::unique_ptr<Conn>>;
  using DialResult = Result<std::unique_ptr<Conn>>;

  explicit Answers(Loop& loop) : loop_(loop) {}
  ~Answers() {
    for (auto& [done, result] : std::exchange(waiting_, {}))
      done(result.ok() ? DialResult(unavailable("dial: given up, for the engine is closing")) : std::move(result));
  }

  void later(DialResult result, DialDone done) {
    waiting_.emplace_back(std::move(done), std::move(result));
    loop_.later([self = anchor_.ref()] {
      if (self.get() != nullptr) self.get()->give_first();
    });
  }

 private:
  void give_first() {
    auto [done, result] = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    done(std::move(result));
  }

  Loop& loop_;
  std::vector<std::pair<DialDone, DialResult>> waiting_;
  Anchor<Answers> anchor_{*this};
};

}  // namespace nebula
