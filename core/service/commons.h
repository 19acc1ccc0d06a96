// service/commons.h - what the channels to one name, each on a loop of its own, tell each other.
//
// Each loop of a program has channels, nodes and policies of its own, and round robin is one loop's affair. But a node
// that one of them has left alone need not be found out by the others too, and a program has one budget of retries. So
// each channel sits in the commons of its engine, and tells the others by post, which gathers while one does not look:
// what waits for a seat is one News at most.
//
// A Commons is safe from any thread, and one of the few files with a lock; no call takes it. A Seat lives on the loop of
// its channel.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/fn.h"
#include "loop/loop.h"
#include "service/retry.h"

namespace nebula {

class Commons;

struct News {
  struct Isolated {
    Time until;
    double share;  // of all nodes, that may be left alone for that reason
  };
  Allowance allowance = {};                    // what has come to it, or gone of it
  std::map<std::string, Isolated> isolated = {};  // by the ids of endpoints
};

class Seat {
 public:
  // `told` hears what others say, in steps of its own, on this loop.
  Seat(Commons& commons, Loop& loop, std::string name, Fn<void(const News&)> told);
  ~Seat();

  void tell(const News& news);  // all others at that name
  bool has_others() const;      // there; a moment ago, for they come and go on their own threads

 private:
  friend Commons;
  struct Box;

  Commons& commons_;
  const std::string name_;
  const uint64_t fork_generation_;
  std::shared_ptr<Box> box_;
};

class Commons {
 private:
  friend Seat;

  std::mutex lock_;
  std::map<std::string, std::vector<std::shared_ptr<Seat::Box>>> tables_;  // by the names
};

}  // namespace nebula
