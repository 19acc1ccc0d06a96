// sim/server.cc - listens, announces, handles, and stops in several ways.
#include "sim/server.h"

namespace nebula::sim {

namespace {

// What remains of the work is its taker.
Response response_of(Ground& ground, Call& call, Bytes echoed, Taker* taker) {
  Response response;
  response.metadata = response_metadata(call.id, call.wish);
  response.trailers.add("x-ends", std::to_string(call.id));
  bool is_error = call.wish.answer == Wish::Answer::error;
  if (is_error) response.status = Status(call.wish.error, error_message(call.id, call.wish));
  if (streams_responses(call.wish.shape) && !(is_error && call.wish.response_count == 0)) {
    Ending ending = std::move(response);
    response.status = {};
    response.trailers = {};
    if (call.wish.mirrors)
      response.body = std::make_unique<Mirror>(ground, call, taker->give_away(), std::move(ending));
    else
      response.body = std::make_unique<Speaker>(ground, call, Way::response, std::move(ending));
  } else if (!is_error) {
    response.body = call.wish.answer == Wish::Answer::echo ? std::move(echoed) : response_message(call.id, call.wish);
  }
  return response;
}

}  // namespace

ServerProcess::ServerProcess(Ground& ground, std::string service, int instance)
    : process_(ground),
      ground_(ground),
      service_(std::move(service)),
      instance_(instance),
      name_(service_ + "-" + std::to_string(instance)) {
  ground_.trace.note("start server", name_);
  for (int shape = 0; shape < 4; shape++) {
    Wish wish = Wish::plain(service_, static_cast<Shape>(shape), {}, false);
    NEBULA_ASSERT(router_.add({wish.path(), false, this, wish.shape}).ok());
  }
  listen();
}

void ServerProcess::listen() {
  ServerLimits limits{ground_.plan.message_bytes_max};
  if (ground_.plan.silent_after > 0)
    limits.session = {.keepalive = ground_.plan.keepalive(), .pings = {sec(5), true}};
  limits.session.streams_max = ground_.plan.streams_max;
  server_ = std::make_unique<Server>(ground_.loop, process_.network, ground_.log, router_, limits);
  Url clean;
  clean.scheme = "mem";
  clean.path = name_;
  NEBULA_ASSERT(server_->listen(clean).ok());
  NEBULA_ASSERT(server_->listen(ground_.listen_url(name_ + "-faulty")).ok());
}

ServerProcess::~ServerProcess() {
  withdraw();
  lose();
}

void ServerProcess::lose() {
  ground_.ledger.on_instance_lost(instance_, ground_.loop.now());
  // Either may go first when a process ends.
  if (process_.random.chance(1, 2)) server_.reset();
  while (!works_.empty()) forget(works_.begin()->second.call);
  server_.reset();
}

// ---- the registry

void ServerProcess::announce(bool is_clean) {
  lease_.reset();
  ground_.ledger.on_upset(service_);
  Url dead;
  dead.scheme = "mem";
  dead.path = name_ + "-nobody";
  Url clean;
  clean.scheme = "mem";
  clean.path = name_;
  Endpoint self;
  self.id = std::to_string(instance_) + "." + std::to_string(announcements_++);
  if (ground_.plan.lists_dead_urls && !is_clean) self.urls.push_back(dead);
  self.urls.push_back(is_clean ? clean : ground_.dial_url(name_ + "-faulty"));
  listed_id_ = self.id;
  ground_.trace.note("announce", name_, self.id);
  auto announced = [weak = anchor_.ref(), id = self.id](Result<std::unique_ptr<Lease>> lease) {
    ServerProcess* process = weak.get();
    NEBULA_ASSERT(lease.ok());
    if (process != nullptr && process->listed_id_ == id) process->on_announced(std::move(*lease));
  };
  ground_.registry.announce(service_, std::move(self), std::move(announced));
}

void ServerProcess::on_announced(std::unique_ptr<Lease> lease) {
  lease_ = std::move(lease);
  if (server_ != nullptr && !std::exchange(is_up_, true)) ground_.ledger.on_up(service_);
}

void ServerProcess::withdraw() {
  lease_.reset();
  listed_id_.clear();
  go_down();
}

void ServerProcess::go_down() {
  if (std::exchange(is_up_, false)) ground_.ledger.on_down(service_);
  ground_.ledger.on_upset(service_);
}

// ---- stopping

std::unique_ptr<Lease> ServerProcess::die() {
  ground_.trace.note("kill server", name_);
  return std::move(lease_);
}

void ServerProcess::drain(Duration wait, Duration listed, Fn<void()> then) {
  ground_.trace.note("drain server", name_);
  // Clients learn from the server itself that it takes no more, whatever the registry says.
  go_down();
  ground_.ledger.on_instance_drains(instance_);
  withdraw_timer_ = ground_.loop.after(listed, [this] { withdraw(); });
  // Those that are cut off when the time is over may fail.
  ground_.ledger.on_instance_lost(instance_, ground_.loop.now() + wait);
  server_->drain(wait, [this, until = ground_.loop.now() + wait, then = std::move(then)]() mutable {
    ground_.trace.note("drained", name_);
    if (ground_.loop.now() > until) ground_.ledger.violation("the drain of " + name_ + " took longer than it may");
    if (server_->session_count() != 0) ground_.ledger.violation(name_ + " is drained, but has connections");
    then();
  });
}

void ServerProcess::close() {
  ground_.trace.note("close server", name_);
  withdraw();
  ground_.ledger.on_instance_lost(instance_, ground_.loop.now());
  server_.reset();
}

void ServerProcess::freeze() {
  ground_.trace.note("freeze server", name_);
  is_frozen_ = true;
  go_down();
  ground_.ledger.on_instance_lost(instance_, ground_.loop.now());
  for (auto& [id, work] : works_) work.timer.reset();
}

void ServerProcess::crash() {
  ground_.trace.note("crash server", name_);
  go_down();
  lose();
}

void ServerProcess::come_back(int instance) {
  ground_.trace.note("server is back", name_);
  instance_ = instance;
  listen();
  if (lease_ != nullptr && !std::exchange(is_up_, true)) ground_.ledger.on_back(service_);
}

// ---- handling

void ServerProcess::call(Request request, Reply reply) {
  Call* call = ground_.ledger.on_request(instance_, request);
  if (call == nullptr) return;
  Work& work = works_.emplace(call->id, Work{*call, std::move(reply), {}, nullptr, nullptr}).first->second;
  request.context->on_cancel([this, call](const Status&) { on_cancelled(*call); });
  if (Bytes* message = std::get_if<Bytes>(&request.body)) {
    work.message = std::move(*message);
    return go_on(*call);
  }
  work.taker = std::make_unique<Taker>(ground_, *call, Way::request,
                                       std::move(std::get<std::unique_ptr<Source>>(request.body)),
                                       call->wish.requests_max,
                                       [this, call](Ending* ending) { on_requests_over(*call, ending); });
  if (call->wish.answers_at_once) go_on(*call);
  // It may be over by now, or given away.
  auto found = works_.find(call->id);
  if (found == works_.end() || call->wish.mirrors || is_frozen_) return;
  found->second.taker->start();
}

void ServerProcess::go_on(Call& call) {
  if (call.wish.hangs || is_frozen_) return;
  if (call.wish.work > Duration{}) return answer_after(call, call.wish.work);
  answer(call);
}

// null: it has had enough. Where they end in an error, on_cancelled follows.
void ServerProcess::on_requests_over(Call& call, Ending* ending) {
  if (ending != nullptr) ground_.ledger.on_requests_end(call, ending->status);
  Work& work = works_.at(call.id);
  if (!work.reply) {
    works_.erase(call.id);
    return;
  }
  work.taker.reset();  // so that the answer is the end of the work
  if ((ending == nullptr || ending->status.ok()) && !call.wish.answers_at_once) go_on(call);
}

void ServerProcess::on_cancelled(Call& call) {
  ground_.ledger.on_handler_cancelled(call);
  auto found = works_.find(call.id);
  if (is_frozen_ || found == works_.end()) return;
  if (!found->second.reply) {  // answered, as far as it goes
    works_.erase(found);
    return;
  }
  switch (call.wish.upset) {
    case Wish::Upset::answer: return answer(call);
    case Wish::Upset::forget: return forget(call);
    case Wish::Upset::ignore:
      if (found->second.timer != nullptr) return;
      [[fallthrough]];
    case Wish::Upset::answer_later: return answer_after(call, ms(process_.random.between(0, 3000)));
  }
}

void ServerProcess::answer_after(Call& call, Duration wait) {
  works_.at(call.id).timer = ground_.loop.after(wait, [this, &call] { answer(call); });
}

void ServerProcess::answer(Call& call) {
  if (call.wish.answer == Wish::Answer::forget) return forget(call);
  Work& work = works_.at(call.id);
  Response response = response_of(ground_, call, std::move(work.message), work.taker.get());
  Reply reply = std::move(work.reply);
  // Requests may be taken while the responses are given.
  bool is_over = work.taker == nullptr || call.wish.mirrors || !call.wish.answers_at_once;
  if (is_over)
    works_.erase(call.id);
  else
    work.timer.reset();
  if (!std::holds_alternative<std::unique_ptr<Source>>(response.body)) ground_.ledger.on_handler_answers(call);
  reply(std::move(response));
}

void ServerProcess::forget(Call& call) {
  auto work = works_.extract(call.id);
  if (work.mapped().reply) ground_.ledger.on_handler_lost(call);
}

}  // namespace nebula::sim
