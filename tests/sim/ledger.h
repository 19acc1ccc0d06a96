// sim/ledger.h - what each call asked for, what became of it, and whether that may be.
//
// Both ends of the simulated world report here: callers what they asked and were answered, handlers what they were
// given. A breach of a rule is kept as a sentence; the run goes on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "rpc/call.h"
#include "sim/plan.h"
#include "sim/trace.h"
#include "sim/wish.h"

namespace nebula::sim {

// The messages of one way of a streaming call.
struct Flow {
  uint64_t given = 0;          // to the engine, by who has them
  uint64_t taken = 0;          // from the engine
  uint64_t bytes_between = 0;  // given and not taken
  bool is_all_said = false;
  bool is_watched = true;      // somebody still takes
};

struct Call {
  uint64_t id = 0;
  Wish wish;

  Time begun;
  Time deadline = Time::never();
  Time cancelled = Time::never();  // by the caller
  Time ended = Time::never();
  bool is_abandoned = false;       // the caller's channel goes
  Code code = Code::ok;

  int runs = 0;                    // of its handler
  int instance = -1;               // where
  bool is_handled = false;         // a handler owes the answer
  bool handler_answered = false;   // it has given one
  Time handler_cancelled = Time::never();
  bool was_never_sent = false;     // as the caller was told
  bool has_begun = false;          // its stream of responses
  Flow flows[2];

  Flow& flow(Way way) { return flows[static_cast<size_t>(way)]; }
  const Flow& flow(Way way) const { return flows[static_cast<size_t>(way)]; }
  bool reads_slowly() const { return wish.taking_pause(Way::response) > Duration{}; }  // and hears late of the end
  bool has_ended() const { return !ended.is_never(); }
};

class Ledger {
 public:
  Ledger(const Plan& plan, const Clock& clock, Trace& trace) : plan_(plan), clock_(clock), trace_(trace) {}

  // ---- the caller's side
  Call& begin(Wish wish);
  void on_caller_cancels(Call& call);
  void on_begun(Call& call, const Response& response);     // its responses will come
  void on_reply(Call& call, Result<Response> result);
  void check_was_answered(const Call& call, std::string_view by);  // by then it must have been

  // ---- the handler's side
  Call* on_request(int instance, const Request& request);  // null: there is no such call
  void on_handler_answers(Call& call);
  void on_handler_cancelled(Call& call);
  void on_handler_lost(Call& call);                         // with its process, or it dropped the Reply
  void check_is_cancelled(const Call& call);                // the caller is long gone
  void check_has_none(int instance);                        // everybody knows that it is dead

  // ---- the messages of a stream
  void on_message_given(Call& call, Way way, size_t bytes);
  void on_message_taken(Call& call, Way way, const Bytes& message);
  void on_all_said(Call& call, Way way);
  void on_speaker_gone(Call& call, Way way, bool has_said_all);
  void on_taker_gone(Call& call, Way way) { call.flow(way).is_watched = false; }
  void on_requests_end(Call& call, const Status& status);

  // ---- what may explain that a call fails
  void on_up(const std::string& service);
  void on_down(const std::string& service);
  void on_back(const std::string& service);                 // at an address that clients have given up for a while
  void on_upset(const std::string& service);                // its list of instances changes
  Time calm_from() const;                                   // what has happened explains no failure of later calls
  void on_instance_drains(int instance) { drains_from_[instance] = clock_.now(); }
  void on_instance_lost(int instance, Time from) { lost_from_[instance] = from; }  // what it runs may fail from then on

  // ---- all calls
  const std::map<uint64_t, Call>& calls() const { return calls_; }
  std::map<uint64_t, Call>& calls() { return calls_; }
  void check_all_over();
  void forget_all();                                        // when all are over: for a run without end
  uint64_t count() const { return next_id_ - 1; }
  uint64_t count(Code code) const { return codes_[static_cast<size_t>(code)]; }

  void violation(const Call& call, std::string_view what);
  void violation(std::string_view what);
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  struct Name {
    int up = 0;
    Time trouble_began;
    Time trouble_ends;
  };

  void check_time(const Call& call);
  void check_code(const Call& call, const Status& status);
  void check_fate(Call& call, const Result<Response>& result);
  void check_answer(const Call& call, const Response& response);
  void check_stream(const Call& call);
  void check_request(const Call& call, const Request& request);
  bool may_be_unavailable(const Call& call) const;
  bool is_lost(int instance) const;
  std::string describe(const Call& call) const;

  const Plan& plan_;
  const Clock& clock_;
  Trace& trace_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Call> calls_;
  std::map<std::string, Name> names_;
  std::map<int, Time> lost_from_;
  std::map<int, Time> drains_from_;
  uint64_t codes_[17] = {};
  std::vector<std::string> violations_;
};

}  // namespace nebula::sim
