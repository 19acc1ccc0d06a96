// service/checks.h - requests beside the descriptions of their services, before anything of them is sent.
//
// A channel's, made for its first call that asks for it. The description of a service is fetched once, by the channel
// itself, and kept; calls wait for it. What is not described is called unchecked.
//
// A service may be deployed anew with other fields. So nothing is refused by what was fetched for an earlier call: the
// service is asked first whether its description is still the one of that digest. A call that passes pays nothing for
// this, one that does not pays a round trip, which it would have paid at the server too. A description that has become
// stricter needs no watching: what passes here is refused there, in the same words.
//
// Lives on its channel's loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "loop/anchor.h"
#include "loop/loop.h"
#include "rpc/schema.h"
#include "rpc/service.h"

namespace nebula {

class Checks {
 public:
  // `way` is the channel, which outlives this; `name` is what it is called in errors.
  Checks(Loop& loop, Service& way, std::string name) : loop_(loop), way_(way), name_(std::move(name)) {}
  ~Checks();

  // Answers with what is wrong, fate unsent; or hands the call on to the channel, unmarked.
  void call(Request request, Reply reply);

  // Services that had no description may have one now: there is another instance.
  void forget_undescribed();

  // The channel is being destroyed: calls that wait end with unavailable.
  void close();

 private:
  struct Waiting {
    Request request;
    Reply reply;
  };

  // One question for a description, and who waits for the answer.
  struct Fetch {
    explicit Fetch(Time deadline) : context(deadline, {}) {}
    Method method{"/nebula.v1.Description/Get", true};
    Context context;
    std::map<int64_t, Waiting> waiting;  // by their turn
  };

  struct Described {
    std::string service;
    bool has_none = false;
    std::shared_ptr<Schema> schema;  // null: not fetched yet, or there is none
    std::string digest;
    std::shared_ptr<Fetch> fetches[2];  // under way: one that fails fast, and one that waits for an instance
  };

  void wait(Described& service, Request request, Reply reply);
  void ask(Described& service, bool wait_for_ready);
  void on_answer(Described& service, bool wait_for_ready, Result<Response> result);
  bool take(Described& service, const Result<Response>& result);  // whether it has told us
  void judge(Described& service, Request request, Reply reply);
  void pass(Request request, Reply reply);

  Loop& loop_;
  Service& way_;
  const std::string name_;
  std::map<std::string, Described, std::less<>> services_;  // a map: what is in it stays where it is
  int64_t next_turn_ = 0;
  size_t waiting_count_ = 0;
  Anchor<Checks> anchor_{*this};
};

}  // namespace nebula
