// transport/mem.h - where the ends of mem: connections find each other.
//
// One hub for all loops of an engine, or of a simulated world: who dials a name may be on another loop, and in another
// thread, than who listens. One of the few files with a lock.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/fn.h"
#include "base/status.h"

namespace nebula {

class Loop;
class MemListener;

// Where connections to a name arrive. `listener` belongs to the loop, and is null once it has gone.
struct MemDoor {
  Loop& loop;
  MemListener* listener;
};

class MemHub {
 public:
  // `shares`: beside other doors of that name, which are then taken in turn.
  Status add(const std::string& name, bool shares, std::shared_ptr<MemDoor> door);
  void remove(const std::string& name, const MemDoor* door);

  // Shows the next door of that name, which stays for so long, and so does its loop. False: there is none.
  bool visit(const std::string& name, Fn<void(const std::shared_ptr<MemDoor>&)> visitor);

 private:
  struct Doors {
    std::vector<std::shared_ptr<MemDoor>> all;
    size_t next = 0;
  };

  std::mutex lock_;
  std::map<std::string, Doors> names_;
};

}  // namespace nebula
