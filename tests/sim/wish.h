// sim/wish.h - what a caller wants to happen in one call, drawn by chance; its handler looks its part up.
//
// The messages and metadata of a call follow from its number, so that each end knows what the other must have sent.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/metadata.h"
#include "base/random.h"
#include "base/status.h"
#include "base/time.h"
#include "sim/plan.h"

namespace nebula::sim {

struct Wish {
  enum class Answer : uint8_t { echo, body, error, forget };         // forget: drops the Reply
  enum class Upset : uint8_t { answer, answer_later, forget, ignore };  // what a handler does when cancelled
  enum class Target : uint8_t { echo, no_method, no_service };

  static Wish draw(const Plan& plan, Random& random);
  static Wish plain(std::string service, Duration timeout, bool waits);

  std::string service;
  Target target = Target::echo;
  size_t request_bytes = 0;
  size_t response_bytes = 0;
  size_t request_padding = 0;    // bytes of metadata, beyond the few that each call has
  size_t response_padding = 0;
  Answer answer = Answer::echo;
  Code error = Code::ok;
  size_t error_bytes = 0;        // of its message, at least
  Duration work;                 // before the handler answers
  bool hangs = false;            // it does not, unless the call is cancelled
  Upset upset = Upset::answer;
  Duration timeout = {INT64_MAX};
  bool waits = false;            // wait_for_ready
  Duration cancel_after = {-1};  // less than 0: the caller stays; 0: cancelled before it is sent

  std::string path() const;
  bool ends_by_itself() const;   // without a deadline, and without its caller's doing
};

// The longest that a drawn wish makes a call or its handler last.
inline constexpr Duration wish_max = sec(20);

std::string service_name(int index);

// The code with which a call must end if nothing from outside comes in between.
Code code_of(const Wish& wish, const Plan& plan);

Bytes request_message(uint64_t id, const Wish& wish);
Bytes response_message(uint64_t id, const Wish& wish);
std::string error_message(uint64_t id, const Wish& wish);
Metadata request_metadata(uint64_t id, const Wish& wish);
Metadata response_metadata(uint64_t id, const Wish& wish);

}  // namespace nebula::sim
