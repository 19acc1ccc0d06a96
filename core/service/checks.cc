// service/checks.cc - fetch, keep, compare; and whom to believe when they differ.
#include "service/checks.h"

#include "base/limits.h"
#include "nebula/v1/description.pb-c.h"
#include "service/channel.h"
#include "service/checked_source.h"

namespace nebula {

namespace {

Bytes question_of(const std::string& service, const std::string& digest) {
  Nebula__V1__GetRequest question = NEBULA__V1__GET_REQUEST__INIT;
  question.service = const_cast<char*>(service.c_str());
  question.digest = const_cast<char*>(digest.c_str());
  Block* block = Block::make(nebula__v1__get_request__get_packed_size(&question));
  NEBULA_ASSERT(block != nullptr);
  block->set_size(nebula__v1__get_request__pack(&question, reinterpret_cast<uint8_t*>(block->data())));
  return Bytes::adopt(block);
}

std::string_view method_of_path(std::string_view path) { return path.substr(path.rfind('/') + 1); }

Response refusal(Status why) { return {{std::move(why), {}, Fate::unsent}}; }

}  // namespace

Checks::~Checks() { close(); }

void Checks::call(Request request, Reply reply) {
  std::string_view name = service_of_path(request.method->path);
  auto found = services_.find(name);
  if (found == services_.end()) {
    if (services_.size() >= limits::descriptions_max) return pass(std::move(request), std::move(reply));
    found = services_.emplace(name, Described{}).first;
    found->second.service = name;
  }
  Described& service = found->second;
  if (service.has_none) return pass(std::move(request), std::move(reply));
  // A stream is refused in its midst, when it is too late to ask: it asks first.
  const Bytes* message = std::get_if<Bytes>(&request.body);
  if (service.schema != nullptr && message != nullptr &&
      service.schema->check(method_of_path(request.method->path), message->view()).ok())
    return pass(std::move(request), std::move(reply));
  wait(service, std::move(request), std::move(reply));
}

void Checks::forget_undescribed() {
  for (auto& [name, service] : services_) service.has_none = false;
}

void Checks::close() {
  std::vector<Waiting> waiting;
  for (auto& [name, service] : services_)
    for (std::shared_ptr<Fetch>& fetch : service.fetches) {
      if (fetch == nullptr) continue;
      for (auto& [turn, call] : fetch->waiting) waiting.push_back(std::move(call));
      fetch.reset();  // its answer finds nobody
    }
  services_.clear();
  waiting_count_ = 0;
  // All first: whoever hears of the end of one may cancel another.
  for (Waiting& call : waiting) call.request.context->on_cancel(nullptr);
  for (Waiting& call : waiting) call.reply(unavailable("the channel to \"" + name_ + "\" was closed"));
}

// ---- the description

void Checks::wait(Described& service, Request request, Reply reply) {
  if (waiting_count_ >= limits::calls_waiting_max)
    return reply(resource_exhausted(std::to_string(waiting_count_) + " calls wait for the description of \"" +
                                    service.service + "\" already"));
  std::shared_ptr<Fetch>& fetch = service.fetches[request.wait_for_ready];
  bool is_first = fetch == nullptr;
  if (is_first) fetch = std::make_shared<Fetch>(loop_.now() + limits::description_timeout);
  bool wait_for_ready = request.wait_for_ready;
  int64_t turn = next_turn_++;
  Context* context = request.context;
  waiting_count_++;
  fetch->waiting.emplace(turn, Waiting{std::move(request), std::move(reply)});
  context->on_cancel([this, waited = fetch.get(), turn, name = service.service](const Status& why) {
    auto found = waited->waiting.find(turn);
    Reply cancelled = std::move(found->second.reply);
    waited->waiting.erase(found);
    waiting_count_--;
    cancelled(Status(why.code(), std::string(why.message()) + " while the call waited for the description of \"" + name + "\""));
  });
  if (is_first) ask(service, wait_for_ready);
}

void Checks::ask(Described& service, bool wait_for_ready) {
  std::shared_ptr<Fetch> fetch = service.fetches[wait_for_ready];
  Request request{&fetch->method, &fetch->context, {}, question_of(service.service, service.digest), Codec::proto};
  request.wait_for_ready = wait_for_ready;
  Loop& loop = loop_;
  way_.call(std::move(request), [self = anchor_.ref(), &loop, fetch, name = service.service,
                                 wait_for_ready](Result<Response> result) mutable {
    // In a later step, as this may come from within the fetch's own context, or before way_.call has returned.
    loop.later([self = std::move(self), fetch = std::move(fetch), name = std::move(name), wait_for_ready,
                result = std::move(result)]() mutable {
      Checks* checks = self.get();
      if (checks == nullptr) return;
      auto found = checks->services_.find(name);
      if (found == checks->services_.end() || found->second.fetches[wait_for_ready] != fetch) return;
      checks->on_answer(found->second, wait_for_ready, std::move(result));
    });
  });
}

void Checks::on_answer(Described& service, bool wait_for_ready, Result<Response> result) {
  std::shared_ptr<Fetch> fetch = std::move(service.fetches[wait_for_ready]);
  bool was_told = take(service, result);
  std::map<int64_t, Waiting> waiting = std::move(fetch->waiting);
  waiting_count_ -= waiting.size();
  for (auto& [turn, call] : waiting) call.request.context->on_cancel(nullptr);
  // Whoever hears of the end of one may destroy the channel.
  Anchor<Checks>::Ref self = anchor_.ref();
  for (auto& [turn, call] : waiting) {
    if (self.get() == nullptr)
      call.reply(unavailable("the channel was closed"));
    else
      was_told ? judge(service, std::move(call.request), std::move(call.reply))
               : pass(std::move(call.request), std::move(call.reply));
  }
}

// What is not known now may be known to the next call; but a server that has answered anything else has no description
// for us, and one that was asked and has not answered in all that time is not asked again. Where nobody has told us we do
// not judge by what we knew: the call goes its way, and ends for the reason that there is.
bool Checks::take(Described& service, const Result<Response>& result) {
  Code code = result.ok() ? result->status.code() : result.status().code();
  if (code == Code::ok) {
    const Bytes& message = std::get<Bytes>(result->body);
    Nebula__V1__GetResponse* answer =
        nebula__v1__get_response__unpack(nullptr, message.size(), reinterpret_cast<const uint8_t*>(message.data()));
    bool is_known = answer != nullptr && service.schema != nullptr && service.digest == answer->digest;
    if (answer != nullptr && !is_known) {
      Result<std::unique_ptr<Schema>> schema = Schema::parse(answer->document);
      service.schema = schema.ok() ? std::move(*schema) : nullptr;
      service.digest = schema.ok() ? answer->digest : "";
    }
    service.has_none = service.schema == nullptr;
    if (answer != nullptr) nebula__v1__get_response__free_unpacked(answer, nullptr);
    return true;
  }
  bool was_sent = result.ok();
  bool was_answered = was_sent && result->fate == Fate::processed && code != Code::unavailable;
  if (!was_answered && !(was_sent && code == Code::deadline_exceeded)) return false;
  service.schema = nullptr;
  service.digest.clear();
  service.has_none = true;
  return false;
}

// ---- the verdict

// By what was fetched for this very call.
void Checks::judge(Described& service, Request request, Reply reply) {
  std::shared_ptr<Schema> schema = service.schema;
  if (schema == nullptr) return pass(std::move(request), std::move(reply));
  std::string_view method = method_of_path(request.method->path);
  Status status = schema->check_method(method);
  if (const Bytes* message = std::get_if<Bytes>(&request.body)) {
    if (status.ok()) status = schema->check(method, message->view());
  } else if (status.ok()) {
    std::unique_ptr<Source>& messages = std::get<std::unique_ptr<Source>>(request.body);
    std::unique_ptr<CheckedSource> checked =
        std::make_unique<CheckedSource>(std::move(messages), std::move(schema), std::string(method));
    status = checked->look_ahead();
    messages = std::move(checked);
  }
  if (!status.ok()) return reply(refusal(std::move(status)));
  pass(std::move(request), std::move(reply));
}

void Checks::pass(Request request, Reply reply) {
  request.check = false;
  way_.call(std::move(request), std::move(reply));
}

}  // namespace nebula
