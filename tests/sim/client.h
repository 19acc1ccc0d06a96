// sim/client.h - one simulated client process: channels by name, and callers with all kinds of wishes.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "service/channel.h"
#include "sim/ground.h"
#include "sim/stream.h"

namespace nebula::sim {

class ClientProcess {
 public:
  ClientProcess(Ground& ground, int index);
  ~ClientProcess();  // kill -9

  // Bursts of drawn calls, from now on until told otherwise.
  void work();
  void rest();

  Call& call(Wish wish);
  void cancel_all();     // callers give up
  void drop_channels();  // with calls in flight

 private:
  struct Outgoing {
    Outgoing(Call& its_call, Time deadline) : call(its_call), context(deadline, nullptr) {}
    Call& call;
    Context context;
    Method method;
    std::unique_ptr<Timer> cancel_timer;
    std::unique_ptr<Taker> taker;  // of its responses
  };

  void burst();
  void call_as_planned();
  void retire(Call& call);
  void cancel(Call& call);
  Body body_of(Call& call);
  void on_response(Call& call, Result<Response> result);
  void on_responses_end(Call& call, Ending* ending);
  void on_reply(Call& call, Result<Response> result);
  void cancel_another();
  Channel& channel(const std::string& service);

  Process process_;
  Ground& ground_;
  const std::string name_;
  std::map<std::string, std::unique_ptr<Channel>> channels_;
  std::map<uint64_t, std::unique_ptr<Outgoing>> outgoing_;
  Agenda bursts_;
  Agenda checks_;   // and contexts that outlive their calls
  bool is_working_ = false;
};

}  // namespace nebula::sim
