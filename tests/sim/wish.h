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
#include "rpc/call.h"
#include "sim/plan.h"

namespace nebula::sim {

enum class Way : uint8_t { request, response };

struct Wish {
  enum class Answer : uint8_t { echo, body, error, forget };         // forget: drops the Reply
  enum class Upset : uint8_t { answer, answer_later, forget, ignore };  // what a handler does when cancelled
  enum class Target : uint8_t { echo, no_method, no_service };

  static Wish draw(const Plan& plan, Random& random);
  static Wish plain(std::string service, Shape shape, Duration timeout, bool waits);

  std::string service;
  Target target = Target::echo;
  Shape shape = Shape::unary;
  size_t request_bytes = 0;      // of the message; in a stream of the last one, the others have up to piece_bytes_max
  size_t response_bytes = 0;
  size_t piece_bytes_max = 0;
  uint64_t request_count = 1;
  uint64_t response_count = 1;
  Duration pauses[4];            // about so long between two messages: who says and who takes, requests and responses
  bool mirrors = false;          // bidi: its responses are its requests
  bool answers_at_once = false;  // bidi: does not wait for the requests
  bool never_ends = false;       // the caller does not say that there are no more requests
  uint64_t requests_max = UINT64_MAX;   // the handler takes so many, and drops the rest
  uint64_t responses_max = UINT64_MAX;  // the caller does
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
  uint64_t count(Way way) const { return way == Way::request ? request_count : response_count; }
  Duration speaking_pause(Way way) const { return pauses[static_cast<size_t>(way)]; }
  Duration taking_pause(Way way) const { return pauses[2 + static_cast<size_t>(way)]; }
  bool needs_all_requests() const;  // before its handler answers
  bool ends_by_itself() const;   // without a deadline, and without its caller's doing
};

// The longest that a drawn wish makes a call or its handler last.
inline constexpr Duration wish_max = sec(20);

std::string service_name(int index);

// The code with which a call must end if nothing from outside comes in between.
Code code_of(const Wish& wish, const Plan& plan);
// A message is too large that the server may never get to.
bool may_be_oversize(const Wish& wish, const Plan& plan);

Bytes request_message(uint64_t id, const Wish& wish);
Bytes response_message(uint64_t id, const Wish& wish);
Bytes stream_message(uint64_t id, const Wish& wish, Way way, uint64_t number);
Duration pause_before(uint64_t id, uint64_t number, Duration about);
std::string error_message(uint64_t id, const Wish& wish);
Metadata request_metadata(uint64_t id, const Wish& wish);
Metadata response_metadata(uint64_t id, const Wish& wish);

}  // namespace nebula::sim
