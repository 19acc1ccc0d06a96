// rpc/client.h - calls that the engine makes for itself, as a registry does: one message for one, and a stream each way.
//
// The service that is asked, a channel as a rule, and the loop outlive them. All of it lives on one loop.
#pragma once

#include <deque>
#include <memory>

#include "loop/anchor.h"
#include "rpc/service.h"

namespace nebula {

// Answers with the response's message, or with why there is none; deadline_exceeded after `timeout`.
void ask(Service& service, Loop& loop, const Method& method, Bytes message, Duration timeout, Done<Bytes> done);

struct ConversationEvents {
  virtual void on_message(Bytes message) = 0;
  virtual void on_end(Status why) = 0;  // the last event, whoever ended it; never from inside a verb

 protected:
  ~ConversationEvents() = default;
};

// A bidirectional call; or with a message one that many answer to it. Its destruction, which is allowed inside its
// events, ends it.
class Conversation {
 public:
  Conversation(Service& service, Loop& loop, const Method& method, ConversationEvents& up);
  Conversation(Service& service, Loop& loop, const Method& method, Bytes message, ConversationEvents& up);
  ~Conversation();

  void send(Bytes message);

 private:
  class Requests;
  struct Life;

  void start(Service& service, const Method& method, Body body);
  void on_response(std::unique_ptr<Life> life, Result<Response>&& result);
  void read();
  void end_later(Status why);

  Loop& loop_;
  ConversationEvents& up_;
  Requests* requests_ = nullptr;         // the call's; null: it has gone
  Life* waiting_ = nullptr;              // the call's, until it is answered
  std::unique_ptr<Life> life_;           // ours then; outlives the responses
  std::unique_ptr<Source> responses_;
  Anchor<Conversation> anchor_{*this};
};

}  // namespace nebula
