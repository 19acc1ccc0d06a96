// sim/fleet_checks.h - what must hold whenever a fleet is called, a small check for each promise.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/member.h"
#include "sim/program.h"

namespace nebula::sim {

// One call, and what became of it.
struct Asked {
  uint64_t id = 0;
  Program* program = nullptr;
  size_t queue = 0;
  Time begun;
  Time deadline = Time::never();
  bool is_idempotent = false;
  int runs = 0;  // of its handler
  int ends = 0;
};

// A handler has it.
struct Visit {
  const Asked& asked;
  const Member& member;
  bool is_first_try = true;
  Time now;
};

using Members = std::vector<std::unique_ptr<Member>>;

// Each says what is wrong; empty: nothing is.
class Check {
 public:
  virtual ~Check() = default;
  virtual std::string on_visit(const Visit&) { return {}; }
  virtual std::string on_end(const Asked&, Code, Time) { return {}; }
};

// All there are. The members outlive them.
std::vector<std::unique_ptr<Check>> fleet_checks(const Members& members);

}  // namespace nebula::sim
