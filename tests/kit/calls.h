// kit/calls.h - calls, handlers and servers for tests of what stands above HTTP/2.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kit/messages.h"
#include "kit/streams.h"
#include "rpc/client_call.h"
#include "rpc/frame.h"
#include "rpc/server.h"

namespace nebula::kit {

// A service made of a function.
class Handler final : public Service {
 public:
  using Then = Fn<void(Request, Reply)>;
  explicit Handler(Then then) : then_(std::move(then)) {}
  void answer_by(Then then) { then_ = std::move(then); }
  void call(Request request, Reply reply) override {
    calls++;
    then_(std::move(request), std::move(reply));
  }

  int calls = 0;

 private:
  Then then_;
};

Handler::Then echo();  // answers with what it was asked, metadata included

// A service that keeps its calls until the test decides.
class Holder final : public Service {
 public:
  struct Call {
    Request request;
    Reply reply;
    std::optional<Status> cancelled;
  };

  void call(Request request, Reply reply) override;
  size_t count() const { return calls.size(); }
  Call& last() { return *calls.back(); }

  std::vector<std::unique_ptr<Call>> calls;
  Fn<void(Call&)> then_cancelled;
};

Response with(std::string_view body);
Response with(Tray& responses);
std::unique_ptr<Source> requests_of(Holder::Call& call);  // of a method that streams them

// One call of a client, and what became of it. Its end is the call's end too.
struct Call {
  explicit Call(std::string_view path = "/hello/greet", std::string_view body = "hi", Time deadline = Time::never());
  Call(std::string_view path, Shape shape, Time deadline = Time::never());  // sends `requests`, or `message`
  ~Call();

  Request request();
  Reply reply();

  // "UNAVAILABLE: why", "OK", or "open".
  std::string end() const { return ending() != nullptr ? ending()->status.text() : "open"; }
  Code code() const { return ending() != nullptr ? ending()->status.code() : Code::data_loss; }  // never given here
  const Ending* ending() const;  // null: open
  std::string body() const;

  Method method;
  Context context;
  Metadata metadata;
  std::string message;
  Codec codec = Codec::proto;
  Encoding encoding = Encoding::identity;
  bool wait_for_ready = false;
  bool is_idempotent = false;
  Tray requests;
  Reader responses;

  int answers = 0;
  std::optional<Response> answer;
  Fn<void()> then;
};

// A server of /hello/greet (echo), /hello/hold (holder) and what the test adds, and a client's session to it.
class ServerWorld {
 public:
  explicit ServerWorld(ServerLimits limits = {});
  ~ServerWorld();

  void connect(SessionEnd& end);                       // one more client
  Status start(Call& call, SessionEnd* client = nullptr);  // by the first client, unless told otherwise
  void settle() { world.loop.run_for(ms(1)); }

  // Runs one call and says how it ended; the connection must live.
  std::string run(Call& call);
  bool lives();

  SimWorld world;
  Router router;
  Handler greet{echo()};
  Holder hold;
  std::unique_ptr<Server> server;
  SessionEnd client;
  size_t client_message_bytes_max = limits::message_bytes_max;
};

}  // namespace nebula::kit
