// kit/dials.h - a network whose dials the test answers itself, at "door:name".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kit/world.h"

namespace nebula::kit {

// Beside mem: there is door:, where each dial waits until the test opens it, refuses it or leaves it.
class Dials {
 public:
  struct Dial {
    std::string name;
    Time when;
    Done<std::unique_ptr<Conn>> done;
  };

  explicit Dials(SimWorld& world);
  ~Dials();

  // The n-th dial. Each is answered once, in a later step.
  void refuse(size_t n, std::string_view why = "refused");
  void open(size_t n, std::string_view mem_name);  // it becomes a connection to mem:<mem_name>

  SimWorld& world;
  std::vector<Dial> dials;
  Fn<void(size_t n)> then;  // after each dial

 private:
  class Door;
  DriverTable<Transport> table_;

 public:
  Network network;
};

}  // namespace nebula::kit
