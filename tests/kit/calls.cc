// kit/calls.cc - the usual handlers, and one call from its start to its end.
#include "kit/calls.h"

namespace nebula::kit {

Handler::Then echo() {
  return [](Request request, Reply reply) {
    Response response;
    response.body = std::get<Bytes>(request.body);
    for (Field field : request.metadata)
      if (field.name != "user-agent") response.metadata.add(field.name, field.value);
    reply(std::move(response));
  };
}

void Holder::call(Request request, Reply reply) {
  calls.push_back(std::make_unique<Call>(Call{std::move(request), std::move(reply), {}}));
  Call* call = calls.back().get();
  call->request.context->on_cancel([this, call](const Status& why) {
    call->cancelled = why;
    if (then_cancelled) then_cancelled(*call);
  });
}

Response with(std::string_view body) {
  Response response;
  response.body = Bytes::copy(body);
  return response;
}

Response with(Tray& responses) {
  Response response;
  response.body = responses.source();
  return response;
}

std::unique_ptr<Source> requests_of(Holder::Call& call) {
  return std::move(std::get<std::unique_ptr<Source>>(call.request.body));
}

Call::Call(std::string_view path, std::string_view body, Time deadline)
    : method{std::string(path)}, context(deadline, {}), message(body) {}

Call::Call(std::string_view path, Shape shape, Time deadline) : Call(path, "hi", deadline) { method.shape = shape; }

Call::~Call() {
  if (ending() == nullptr) context.cancel(cancelled("the test is over"));
}

Request Call::request() {
  Request request{&method, &context, metadata, {}, codec};
  if (streams_requests(method.shape))
    request.body = requests.source();
  else
    request.body = Bytes::copy(message);
  request.encoding = encoding;
  request.wait_for_ready = wait_for_ready;
  request.is_idempotent = is_idempotent;
  return request;
}

Reply Call::reply() {
  return [this](Result<Response> result) {
    answers++;
    answer = result.ok() ? std::move(*result) : Response{{result.status()}};
    std::unique_ptr<Source>* source = std::get_if<std::unique_ptr<Source>>(&answer->body);
    if (source != nullptr) responses.start(std::move(*source));
    if (then) then();
  };
}

const Ending* Call::ending() const {
  if (!answer) return nullptr;
  if (!std::holds_alternative<std::unique_ptr<Source>>(answer->body)) return &*answer;
  return responses.ending ? &*responses.ending : nullptr;
}

std::string Call::body() const {
  const Bytes* bytes = answer ? std::get_if<Bytes>(&answer->body) : nullptr;
  return bytes != nullptr ? std::string(bytes->view()) : "none";
}

ServerWorld::ServerWorld(ServerLimits limits) {
  NEBULA_ASSERT(router.add({"/hello/greet", false, &greet}).ok());
  NEBULA_ASSERT(router.add({"/hello/hold", false, &hold}).ok());
  server = std::make_unique<Server>(world.loop, world.network, world.log, router, limits);
  NEBULA_ASSERT(server->listen(url("mem:hello")).ok());
  connect(client);
}

// Handlers that hold a Reply let it go while their calls still live; the loop then forgets all.
ServerWorld::~ServerWorld() {
  client.session.reset();
  server.reset();
  hold.calls.clear();
  settle();
}

void ServerWorld::connect(SessionEnd& end) {
  world.network.dial(url("mem:hello"), [this, &end](Result<std::unique_ptr<Conn>> conn) {
    NEBULA_ASSERT(conn.ok());
    end.start(world.loop, std::move(*conn), false);
  });
  settle();
}

Status ServerWorld::start(Call& call, SessionEnd* by) {
  Request request = call.request();
  Reply reply = call.reply();
  Session& session = *(by != nullptr ? by : &client)->session;
  Status status = start_client_call({world.loop, session, "hello", client_message_bytes_max}, request, reply);
  if (!status.ok()) reply(status);
  return status;
}

std::string ServerWorld::run(Call& call) {
  Status status = start(call);
  NEBULA_ASSERT(status.ok());
  settle();
  return call.end();
}

bool ServerWorld::lives() {
  Call call;
  return start(call).ok() && (settle(), call.end() == "OK");
}

}  // namespace nebula::kit
