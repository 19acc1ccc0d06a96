// sim/client.cc - calls, cancels, and calls again from inside an answer.
#include "sim/client.h"

namespace nebula::sim {

ClientProcess::ClientProcess(Ground& ground, int index)
    : process_(ground),
      ground_(ground),
      name_("client-" + std::to_string(index)),
      bursts_(ground.loop),
      checks_(ground.loop) {
  ground_.trace.note("start client", name_);
}

ClientProcess::~ClientProcess() {
  ground_.trace.note("end client", name_);
  rest();
  checks_.clear();
  drop_channels();
}

// ---- making calls

void ClientProcess::work() {
  is_working_ = true;
  bursts_.after(ground_.about(ground_.plan.burst_pause), [this] { burst(); });
}

void ClientProcess::rest() {
  is_working_ = false;
  bursts_.clear();
}

void ClientProcess::burst() {
  uint64_t count = 1 + process_.random.below(ground_.plan.burst_max);
  for (; count > 0; count--) call_as_planned();
  work();
}

void ClientProcess::call_as_planned() {
  if (ground_.ledger.count() < ground_.plan.calls_max) call(Wish::draw(ground_.plan, process_.random));
}

Call& ClientProcess::call(Wish wish) {
  Call& call = ground_.ledger.begin(std::move(wish));
  std::unique_ptr<Outgoing>& slot = outgoing_[call.id];
  slot = std::make_unique<Outgoing>(call, call.deadline);
  Outgoing& outgoing = *slot;
  outgoing.method.path = call.wish.path();
  outgoing.method.shape = call.wish.shape;
  if (call.wish.cancel_after == Duration{}) {
    ground_.ledger.on_caller_cancels(call);
    outgoing.context.cancel(cancelled("the caller has changed its mind"));
  } else if (call.wish.cancel_after > Duration{}) {
    outgoing.cancel_timer = ground_.loop.after(call.wish.cancel_after, [this, &call] { cancel(call); });
  }
  Request request{&outgoing.method, &outgoing.context, request_metadata(call.id, call.wish),
                  body_of(call)};
  request.wait_for_ready = call.wish.waits;
  Reply reply = [this, &call](Result<Response> result) { on_response(call, std::move(result)); };
  channel(call.wish.service).call(std::move(request), std::move(reply));
  return call;
}

Body ClientProcess::body_of(Call& call) {
  if (!streams_requests(call.wish.shape)) return request_message(call.id, call.wish);
  return std::make_unique<Speaker>(ground_, call, Way::request, Ending{});
}

Channel& ClientProcess::channel(const std::string& service) {
  std::unique_ptr<Channel>& channel = channels_[service];
  if (channel == nullptr) {
    Env env = process_.network.env();
    Result<std::unique_ptr<Balancer>> balancer = round_robin_driver().open(Url(), env);
    NEBULA_ASSERT(balancer.ok());
    ChannelLimits limits{ground_.plan.message_bytes_max, {.keepalive = ground_.plan.keepalive()}};
    ChannelName name{service, service};
    channel = std::make_unique<Channel>(env, ground_.registry, std::move(name), std::move(*balancer), limits);
  }
  return *channel;
}

// ---- how they end

void ClientProcess::on_response(Call& call, Result<Response> result) {
  std::unique_ptr<Source>* source = result.ok() ? std::get_if<std::unique_ptr<Source>>(&result->body) : nullptr;
  if (source == nullptr) return on_reply(call, std::move(result));
  ground_.ledger.on_begun(call, *result);
  std::unique_ptr<Taker>& taker = outgoing_.at(call.id)->taker;
  taker = std::make_unique<Taker>(ground_, call, Way::response, std::move(*source), call.wish.responses_max,
                                  [this, &call](Ending* ending) { on_responses_end(call, ending); });
  taker->start();
}

void ClientProcess::on_responses_end(Call& call, Ending* ending) {
  if (ending != nullptr) return on_reply(call, Response{std::move(*ending)});
  ground_.ledger.on_caller_cancels(call);
  on_reply(call, Response{{cancelled("the caller has heard enough")}});
}

void ClientProcess::on_reply(Call& call, Result<Response> result) {
  ground_.ledger.on_reply(call, std::move(result));
  retire(call);
  if (call.is_handled && !call.is_abandoned)
    checks_.after(ground_.plan.reach(), [this, &call] { ground_.ledger.check_is_cancelled(call); });
  if (!is_working_ || !ground_.plan.has_chains) return;
  if (process_.random.chance(1, 4)) call_as_planned();
  if (process_.random.chance(1, 10)) cancel_another();
}

// The context of a call may go with the answer or stay: then its deadline still comes, to a call that is over.
void ClientProcess::retire(Call& call) {
  auto over = outgoing_.extract(call.id);
  over.mapped()->cancel_timer.reset();
  if (process_.random.chance(1, 4)) checks_.after(sec(process_.random.between(0, 20)), [over = std::move(over)] {});
}

void ClientProcess::cancel(Call& call) {
  ground_.ledger.on_caller_cancels(call);
  outgoing_.at(call.id)->context.cancel(cancelled("the caller has changed its mind"));
  auto open = outgoing_.find(call.id);
  if (open != outgoing_.end() && open->second->taker != nullptr) open->second->taker->hurry();
}

void ClientProcess::cancel_another() {
  if (outgoing_.empty()) return;
  auto chosen = outgoing_.begin();
  std::advance(chosen, process_.random.below(outgoing_.size()));
  cancel(chosen->second->call);
}

void ClientProcess::cancel_all() {
  while (!outgoing_.empty()) cancel(outgoing_.begin()->second->call);
}

void ClientProcess::drop_channels() {
  ground_.trace.note("drop channels", name_);
  // A call made from inside an answer goes to a new channel, never to a dying one.
  std::map<std::string, std::unique_ptr<Channel>> dropped = std::move(channels_);
  channels_.clear();
  std::vector<Call*> theirs;
  for (auto& [id, outgoing] : outgoing_) {
    outgoing->call.is_abandoned = true;
    theirs.push_back(&outgoing->call);
  }
  dropped.clear();
  for (Call* call : theirs) {
    auto open = outgoing_.find(call->id);
    if (open != outgoing_.end() && open->second->taker != nullptr) open->second->taker->hurry();
  }
  for (Call* call : theirs) ground_.ledger.check_was_answered(*call, "although its channel is gone");
}

}  // namespace nebula::sim
