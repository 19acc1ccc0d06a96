// service/channel.cc - the way of a call from a name to a node.
#include "service/channel.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "base/random.h"
#include "base/similar.h"
#include "rpc/nested_retries.h"
#include "service/balancer/ranked.h"
#include "service/balancer/subset.h"
#include "service/commons.h"

namespace nebula {

namespace {

// As ==; for some tens of bytes the way to memcmp would be the longer part.
bool is_same(const std::string& a, const std::string& b) {
  size_t size = a.size();
  if (size != b.size()) return false;
  if (size < 8) return a == b;
  uint64_t differs = 0, left, right;
  for (size_t at = 0;; at = at + 16 <= size ? at + 8 : size - 8) {  // the last piece is the last eight bytes
    std::memcpy(&left, a.data() + at, 8);
    std::memcpy(&right, b.data() + at, 8);
    differs |= left ^ right;
    if (at + 8 == size) return differs == 0;
  }
}

}  // namespace

Channel::Channel(const Env& env, Registry& registry, ChannelName name, ChannelPolicy policy, ChannelLimits limits)
    : env_(env),
      registry_(registry),
      service_(std::move(name.service)),
      authority_(std::move(name.authority)),
      tls_(std::move(name.tls)),
      policy_(std::move(policy)),
      limits_(limits),
      metrics_(env.loop.metrics().target(service_)),
      client_(env.random.next()) {
  if (policy_.retry) retry_.emplace(*policy_.retry, policy_.throttle);
  if (policy_.recovery.working > 0) recovery_.emplace(policy_.recovery);
  env_.loop.metrics().add(*this);
}

Channel::~Channel() {
  seat_.reset();
  env_.loop.metrics().remove(*this);
  if (checks_ != nullptr) checks_->close();
  watch_.reset();
  policy_.balancer->update({});
  // Out of the list first: a node whose calls end so asks about the others.
  std::vector<std::unique_ptr<Node>> nodes = std::move(nodes_);
  nodes_.clear();
  nodes.clear();
  leaving_.clear();
  std::map<int64_t, Waiting> waiting = std::move(waiting_);
  for (auto& [turn, pausing] : pausing_) waiting.emplace(turn, std::move(pausing.call));
  pausing_.clear();
  // All first: whoever hears of the end of one may cancel another.
  for (auto& [id, call] : waiting) call.request.context->on_cancel(nullptr);
  for (auto& [id, call] : waiting) end(call, unavailable("the channel to \"" + service_ + "\" was closed"));
}

void Channel::call(Request request, Reply reply) {
  // Its answer would come in the midst of placing it, and may destroy whoever places it.
  if (request.context->is_cancelled())
    return request.context->on_cancel([&reply](const Status& why) { reply(why); });
  // First the deadline: it counts from here on, whatever the call will wait for.
  const MethodPolicy* own = own_policy(request);
  if (own != nullptr && own->timeout)
    request.context->set_deadline(std::min(request.context->deadline(), env_.loop.now() + *own->timeout));
  else if (request.context->deadline().is_never() && policy_.deadline > Duration{})
    request.context->set_deadline(env_.loop.now() + policy_.deadline);
  if (own != nullptr) {
    request.wait_for_ready |= own->wait_for_ready;
    // Who has written a retry policy for a method has said that it may be repeated.
    request.is_idempotent |= own->retry.has_value();
  }
  request.context->keep_deadline(env_.loop);
  if (request.context->deadline() <= env_.loop.now())
    return reply(deadline_exceeded("the deadline passed before the call was sent"));
  if (request.check) {
    if (checks_ == nullptr) checks_ = std::make_unique<Checks>(env_.loop, *this, service_);
    return checks_->call(std::move(request), std::move(reply));
  }
  called_ = env_.loop.now();
  count(request);
  if (retry_) retry_->on_call();
  if (seat_ != nullptr) tell_allowance_soon();
  if (idle_timer_ == nullptr && limits_.idle_max > Duration{}) look_for_idleness(limits_.idle_max);
  if (outlier_timer_ == nullptr && policy_.ejection && nodes_.size() >= policy_.ejection->nodes_min())
    look_for_outliers();
  Waiting call{next_turn_++, std::move(request), std::move(reply)};
  if (recovery_ && !call.request.wait_for_ready && !recovery_->admits(called_, env_.random))
    return end(call, recovery_->refusal(service_));
  // Not past those that wait already: calls go in the order in which they came.
  if (waiting_.empty() && place(call)) return;
  if (waiting_.size() >= limits::calls_waiting_max)
    return end(
        call, resource_exhausted(std::to_string(waiting_.size()) + " calls wait for \"" + service_ + "\" already"));
  // The first in need for a while: nodes may be in the midst of a long pause.
  if (Time before = std::exchange(needed_, called_); before < called_ && is_in_need())
    for (const std::unique_ptr<Node>& node : nodes_) node->hurry();
  // A name that nobody announced a moment ago may be there now: ask again before saying no.
  if (nodes_.empty() && look_timer_ == nullptr)
    look();
  else if (look_timer_ == nullptr && !may_wait() && !call.request.wait_for_ready)
    return end(call, why_not());
  wait(std::move(call));
  if (waiting_.size() == 1) widen();
}

// Only now, for what its service's description refuses is no call.
void Channel::count(const Request& request) {
  if (counts_ == nullptr || !is_same(counted_, request.method->path)) {
    counted_ = request.method->path;
    counts_ = &metrics_.method(counted_);
  }
  request.context->count_among(*counts_, called_);
}

void Channel::end(Waiting& call, Result<Response> result) {
  if (recovery_ && !result.ok()) recovery_->miss();
  call.request.context->count_end(result.ok() ? result->status.code() : result.status().code(), env_.loop.now());
  call.reply(std::move(result));
}

void Channel::set_policy(ChannelPolicy policy) {
  if (policy.balancer_text == policy_.balancer_text) {
    std::swap(policy.balancer, policy_.balancer);
    std::swap(policy.make_balancer, policy_.make_balancer);  // used up where there are ranks
  }
  std::swap(policy, policy_);
  const ChannelPolicy& before = policy;
  if (before.breaker_text != policy_.breaker_text)
    for (const std::unique_ptr<Node>& node : nodes_)
      node->set_breaker(policy_.make_breaker ? policy_.make_breaker() : nullptr);
  if (retry_ && policy_.retry)
    retry_->change(*policy_.retry, policy_.throttle);
  else if (policy_.retry)
    retry_.emplace(*policy_.retry, policy_.throttle);
  else
    retry_.reset();
  if (before.recovery != policy_.recovery) {
    recovery_.reset();
    if (policy_.recovery.working > 0) recovery_.emplace(policy_.recovery);
  }
  allowance_timer_.reset();
  for (const auto* nodes : {&nodes_, &leaving_})
    for (const std::unique_ptr<Node>& node : *nodes) node->set_load_options(policy_.balancer->load_options());
  // The next call begins to compare anew, if it is to be done.
  outlier_timer_.reset();
  for (const std::unique_ptr<Node>& node : nodes_) node->take_outcome();
  bool asks_otherwise = before.health != policy_.health;  // which is asked as a connection begins
  if (asks_otherwise)
    for (std::unique_ptr<Node>& node : std::exchange(nodes_, {})) leave(std::move(node));
  update_nodes();
  bool chooses_otherwise = before.nodes_max != policy_.nodes_max || before.filter != policy_.filter;
  if ((asks_otherwise || chooses_otherwise) && watch_ != nullptr) look();
  on_node_changed();
}

// ---- idleness

void Channel::look_for_idleness(Duration wait) {
  idle_timer_ = env_.loop.after(wait, [this] {
    Time now = env_.loop.now();
    Time last = waiting_.empty() && pausing_.empty() ? called_ : now;
    for (const std::unique_ptr<Node>& node : nodes_) last = std::max(last, std::min(node->idle_since(), now));
    Duration left = limits_.idle_max - (now - last);
    if (left > Duration{}) return look_for_idleness(left);
    go_idle();
  });
}

void Channel::go_idle() {
  NEBULA_LOG(env_.log, debug, "\"" + service_ + "\" is idle");
  idle_timer_.reset();
  outlier_timer_.reset();
  look_timer_.reset();
  watch_.reset();
  trouble_ = {};
  policy_.balancer->update({});
  for (std::unique_ptr<Node>& node : std::exchange(nodes_, {})) leave(std::move(node));
}

// ---- the registry

void Channel::look() {
  watch_ = registry_.watch(service_, [this](Snapshot snapshot) { on_snapshot(std::move(snapshot)); });
  look_timer_ = env_.loop.after(limits::resolve_timeout, [this] {
    look_timer_.reset();
    trouble_ =
        unavailable("the registry has not answered for " + std::to_string(limits::resolve_timeout.ms() / 1000) + " s");
    if (!may_wait()) fail_waiting();
  });
}

void Channel::on_snapshot(Snapshot snapshot) {
  // Those that are named so far may not be whom the filter wants, or drain, or be out of reach.
  if (snapshot.is_whole) look_timer_.reset();
  trouble_ = snapshot.trouble;
  similar_ = std::move(snapshot.similar);
  EndpointList endpoints =
      subset_of(policy_.filter.choose(*snapshot.endpoints, service_, &filtered_), policy_.nodes_max, client_);
  for (Endpoint& each : endpoints) each.urls = trusted_urls(std::move(each.urls), tls_);
  NEBULA_LOG(env_.log, debug, "\"" + service_ + "\" has " + std::to_string(endpoints.size()) + " instances");

  std::vector<std::unique_ptr<Node>> before = std::move(nodes_);
  nodes_.clear();
  bool others_work = std::any_of(before.begin(), before.end(), [](const auto& node) { return node->usable; });
  bool is_new = false;
  for (const Endpoint& endpoint : endpoints) {
    auto known = std::find_if(before.begin(), before.end(), [&](const std::unique_ptr<Node>& node) {
      return node != nullptr && node->endpoint.id == endpoint.id && node->endpoint.urls == endpoint.urls;
    });
    if (known != before.end()) {
      nodes_.push_back(std::move(*known));
      nodes_.back()->set_endpoint(endpoint);
    } else {
      is_new = true;
      nodes_.push_back(std::make_unique<Node>(env_, endpoint, *this, limits_.session, next_node_++));
      nodes_.back()->set_backoff_max(limits_.backoff_max);
      if (others_work) nodes_.back()->set_newcomer();
      if (policy_.make_breaker) nodes_.back()->set_breaker(policy_.make_breaker());
      nodes_.back()->set_load_options(policy_.balancer->load_options());
      if (policy_.health) nodes_.back()->watch_health(*policy_.health, authority_);
    }
  }
  if (is_new && checks_ != nullptr) checks_->forget_undescribed();
  update_nodes();
  for (const std::unique_ptr<Node>& node : nodes_) node->connect();

  for (std::unique_ptr<Node>& node : before) {
    if (node == nullptr) continue;
    // A process that died holds its sockets open for as long as the kernel needs to free its memory: its calls end now.
    if (std::find(snapshot.died.begin(), snapshot.died.end(), node->endpoint.id) != snapshot.died.end()) {
      env_.loop.later([died = std::move(node)] {});
      continue;
    }
    leave(std::move(node));
  }
  on_node_changed();
}

void Channel::update_nodes() {
  NodeStates states;
  for (const std::unique_ptr<Node>& node : nodes_) {
    node->index = states.size();
    node->set_measured(nodes_.size() > 1);
    states.push_back(node.get());
    if (node->endpoint.rank > 0 && policy_.make_balancer)
      policy_.balancer = ranked(std::move(policy_.balancer), std::exchange(policy_.make_balancer, {}));
  }
  policy_.balancer->update(std::move(states));
}

void Channel::leave(std::unique_ptr<Node> node) {
  leaving_.push_back(std::move(node));
  leaving_.back()->retire([this, gone = leaving_.back().get()] { remove(gone); });
}

void Channel::remove(Node* node) {
  auto found = std::find_if(leaving_.begin(), leaving_.end(),
                            [&](const std::unique_ptr<Node>& each) { return each.get() == node; });
  std::unique_ptr<Node> gone = std::move(*found);
  leaving_.erase(found);
  env_.loop.later([gone = std::move(gone)] {});  // it is its own event that we are in
}

// ---- nodes that fail

bool Channel::may_isolate(const Node& node, double share) const {
  size_t isolated = 0;
  bool others_work = false;
  for (const std::unique_ptr<Node>& each : nodes_) {
    if (each.get() == &node) continue;
    isolated += each->is_isolated();
    others_work |= each->is_working();
  }
  size_t most = static_cast<size_t>(share * static_cast<double>(nodes_.size()));
  return others_work && isolated < std::max<size_t>(most, 1);
}

size_t Channel::isolated_count() const {
  auto isolated = [](const std::unique_ptr<Node>& node) { return node->is_isolated(); };
  return static_cast<size_t>(std::count_if(nodes_.begin(), nodes_.end(), isolated));
}

size_t Channel::working_count() const {
  auto works = [](const std::unique_ptr<Node>& node) { return node->is_working(); };
  return static_cast<size_t>(std::count_if(nodes_.begin(), nodes_.end(), works));
}

// A node that fails is better than none: it may be the caller's fault after all, and the others are not there any more.
void Channel::restore_if_alone() {
  if (working_count() > 0) return;
  for (const std::unique_ptr<Node>& node : nodes_)
    if (node->is_isolated()) node->restore();
}

void Channel::look_for_outliers() {
  outlier_timer_ = env_.loop.after(policy_.ejection->interval, [this] {
    outlier_timer_.reset();
    std::vector<Outcome> outcomes;
    bool was_called = false;
    for (const std::unique_ptr<Node>& node : nodes_) {
      outcomes.push_back(node->take_outcome());
      was_called |= outcomes.back().calls > 0;
    }
    for (size_t index : find_outliers(outcomes, *policy_.ejection)) {
      Node& node = *nodes_[index];
      if (node.is_isolated() || !may_isolate(node, policy_.ejection->share)) continue;
      node.counts.ejections++;
      tell_isolated(node, node.isolate(policy_.ejection->first, policy_.ejection->most), policy_.ejection->share);
    }
    if (was_called) look_for_outliers();
  });
}

// ---- what channels of other loops see

void Channel::share(Commons& commons, std::string name) {
  seat_ = std::make_unique<Seat>(commons, env_.loop, std::move(name), [this](const News& news) { on_news(news); });
}

void Channel::tell_isolated(const Node& node, Time until, double share) {
  if (seat_ != nullptr) seat_->tell({{}, {{node.endpoint.id, {until, share}}}});
}

void Channel::tell_allowance_soon() {
  if (!retry_ || !retry_->has_changed() || allowance_timer_ != nullptr || !seat_->has_others()) return;
  allowance_timer_ = env_.loop.after(limits::commons_pause, [this] {
    allowance_timer_.reset();
    seat_->tell({retry_->take_changes()});
  });
}

void Channel::on_news(const News& news) {
  if (retry_) retry_->add(news.allowance);
  for (const std::unique_ptr<Node>& node : nodes_) {
    auto found = news.isolated.find(node->endpoint.id);
    if (found != news.isolated.end() && may_isolate(*node, found->second.share))
      node->isolate_until(found->second.until);
  }
}

// ---- placing

void Channel::on_node_changed() {
  restore_if_alone();
  if (recovery_) recovery_->see(working_count(), nodes_.size(), env_.loop.now());
  serve_waiting();
  if (look_timer_ == nullptr && !may_wait()) fail_waiting();
}

bool Channel::is_in_need() const {
  bool is_needed = !waiting_.empty() || env_.loop.now() < needed_ + limits::need_lasts;
  return is_needed && working_count() == 0;
}

const MethodPolicy* Channel::own_policy(const Request& request) const {
  return policy_.methods == nullptr ? nullptr : find_method(*policy_.methods, request.method->path);
}

const RetryOptions* Channel::retry_options(const Request& request) const {
  if (!retry_) return nullptr;
  const MethodPolicy* own = own_policy(request);
  return own != nullptr && own->retry ? &*own->retry : &retry_->options();
}

// Below a call that is not tried again, what its parent has left counts as well. Of one that was, the number is always told.
RetriesLeft Channel::retries_left(const Request& request) const {
  const NestedRetries* nested = request.context->nested();
  RetriesLeft left = nested != nullptr ? nested->left() : any_retries;
  const RetryOptions* how = request.is_idempotent ? retry_options(request) : nullptr;
  bool is_repeated = how != nullptr && how->mode != RetryOptions::Mode::failfast && how->tries > 1;
  if (!is_repeated) return request.tries == nullptr ? left : 0;
  size_t made = 1 + (request.tries != nullptr ? request.tries->nodes.size() : 0);
  return std::min(left, static_cast<RetriesLeft>(how->tries > made ? how->tries - made : 0));
}

// Where it has failed before it does not go again while it may go elsewhere; or just there, where that is wanted.
const NodeState* Channel::pick(const Request& request) {
  if (request.tries == nullptr) return policy_.balancer->pick(request);
  const std::vector<uint64_t>& tried = request.tries->nodes;
  const RetryOptions* how = retry_options(request);
  bool stays = how != nullptr && how->mode == RetryOptions::Mode::failtry;
  std::vector<Node*> hidden;
  for (const std::unique_ptr<Node>& node : nodes_) {
    bool was_tried = std::find(tried.begin(), tried.end(), node->number()) != tried.end();
    if (node->usable && was_tried != stays) hidden.push_back(node.get());
  }
  for (Node* node : hidden) node->usable = false;
  const NodeState* picked = policy_.balancer->pick(request);
  for (Node* node : hidden) node->usable = true;
  return picked != nullptr ? picked : policy_.balancer->pick(request);
}

bool Channel::place(Waiting& call) {
  if (call.request.is_idempotent || call.request.tries != nullptr || call.request.context->nested() != nullptr)
    call.request.retries_left = retries_left(call.request);
  while (const NodeState* state = pick(call.request)) {
    const std::unique_ptr<Node>& node = nodes_[state->index];
    node->counts.picks++;
    Again again = [self = anchor_.ref(), turn = call.turn, number = node->number()](Request request, Reply reply,
                                                                                   Ending why) {
      if (Channel* channel = self.get())
        return channel->place_again({turn, std::move(request), std::move(reply)}, number, std::move(why));
      reply(Response{std::move(why)});
    };
    // A node that cannot take it is marked as not usable, so this ends.
    if (node->call(authority_, limits_.message_bytes_max, call.request, call.reply, &again).ok()) return true;
  }
  return false;
}

// Transparent retry (gRFC A6): what never left is tried until the deadline, what a connection has left out at its end
// once more. What a server refuses for the number of calls that it takes is like what never left: it is tried until the
// deadline too, for its session lets it out only when there seems to be room.
// All else that comes here is for the policy, and neither of the two counts there.
void Channel::place_again(Waiting call, uint64_t node, Ending why) {
  bool is_seen = why.fate == Fate::unknown || why.fate == Fate::processed;
  if (!is_seen && !(why.fate == Fate::unprocessed && std::exchange(call.request.was_left_out, true))) {
    if (ClientMetrics* counts = call.request.context->counts()) counts->transparent_retries++;
    return place_soon(std::move(call));
  }
  size_t tries = 1 + (call.request.tries != nullptr ? call.request.tries->nodes.size() : 0);
  Context& context = *call.request.context;
  Duration left = context.deadline() - env_.loop.now();
  std::optional<Duration> length;
  if (const RetryOptions* how = retry_options(call.request))
    length = retry_->pause_after(*how, static_cast<uint32_t>(tries), why, env_.random, left, context.nested());
  if (!length) return end(call, Response{std::move(why)});
  if (call.request.tries == nullptr) call.request.tries = std::make_unique<Tries>();
  call.request.tries->nodes.push_back(node);
  context.set_retried();
  if (seat_ != nullptr) tell_allowance_soon();
  pause(std::move(call), *length, std::move(why.status));
}

void Channel::pause(Waiting call, Duration length, Status last) {
  int64_t turn = call.turn;
  call.request.context->on_cancel([this, turn](const Status& why) {
    Pausing over = std::move(pausing_.extract(turn).mapped());
    std::string text(why.message());
    end(over.call, Status(why.code(), text + " before another try; the last one: " + over.last.text()));
  });
  std::unique_ptr<Timer> timer = env_.loop.after(length, [this, turn] {
    Pausing over = std::move(pausing_.extract(turn).mapped());
    over.call.request.context->on_cancel(nullptr);
    if (ClientMetrics* counts = over.call.request.context->counts()) counts->retries++;
    place_soon(std::move(over.call));
  });
  pausing_.emplace(turn, Pausing{std::move(call), std::move(last), std::move(timer)});
}

void Channel::place_soon(Waiting call) {
  wait(std::move(call));
  // In a later step: this comes from the depth of a session's event.
  env_.loop.later([self = anchor_.ref()] {
    if (Channel* channel = self.get()) channel->on_node_changed();
  });
}

void Channel::wait(Waiting call) {
  int64_t turn = call.turn;
  Context* context = call.request.context;
  waiting_.emplace(turn, std::move(call));
  context->on_cancel([this, turn](const Status& why) {
    auto found = waiting_.find(turn);
    Waiting call = std::move(found->second);
    waiting_.erase(found);
    std::string text(why.message());
    if (nodes_.empty())
      text.append("; ").append(why_not().message());
    else
      text.append(" while the call waited for a connection to \"" + service_ + "\"");
    end(call, Status(why.code(), std::move(text)));
  });
}

void Channel::serve_waiting() {
  while (!waiting_.empty()) {
    auto first = waiting_.begin();
    Waiting call = std::move(first->second);
    call.request.context->on_cancel(nullptr);
    waiting_.erase(first);
    if (place(call)) continue;
    wait(std::move(call));  // back to its place at the head of the line
    return widen();
  }
}

// Each wants one more connection at most; nobody knows which of the nodes will have the calls.
void Channel::widen() {
  size_t wanted = waiting_.size(), first = nodes_.size() > 1 ? env_.random.below(nodes_.size()) : 0;
  for (size_t at = 0; at < nodes_.size() && wanted > 0; at++)
    wanted -= nodes_[(first + at) % nodes_.size()]->widen();
}

void Channel::fail_waiting() {
  Status why = why_not();
  std::vector<Waiting> failed;
  for (auto each = waiting_.begin(); each != waiting_.end();) {
    if (each->second.request.wait_for_ready) {
      ++each;
      continue;
    }
    each->second.request.context->on_cancel(nullptr);
    failed.push_back(std::move(each->second));
    each = waiting_.erase(each);
  }
  for (Waiting& call : failed) end(call, why);
}

bool Channel::may_wait() const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const std::unique_ptr<Node>& node) { return node->is_promising(); });
}

Status Channel::why_not() const {
  std::string text;
  if (nodes_.empty()) {
    text = filtered_.empty() ? "no instance of \"" + service_ + "\" is announced" : filtered_;
    text.append(did_you_mean(similar_));
    if (!trouble_.ok()) text.append("; ").append(trouble_.message());
    return unavailable(std::move(text));
  }
  bool is_one = nodes_.size() == 1;
  text = "\"" + service_ + "\" has " + std::to_string(nodes_.size()) +
         (is_one ? " instance, but it " : " instances, but ");
  for (const std::unique_ptr<Node>& node : nodes_) {
    if (node->endpoint.draining || node->trouble().ok()) continue;
    std::string_view reach = is_one ? "cannot be reached: " : "none can be reached: ";
    if (node->is_unwell()) reach = is_one ? "is not well: " : "none is well: ";
    return unavailable(text.append(reach).append(node->trouble().message()));
  }
  return unavailable(text.append(is_one ? "is draining: it takes no new calls" : "all are draining: they take no new calls"));
}

// ---- a channel to every name

std::string_view service_of_path(std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  return path.substr(0, path.find('/'));
}

void Channels::call(Request request, Reply reply) {
  std::string_view service = service_of_path(request.method->path);
  auto found = channels_.find(service);
  if (found == channels_.end()) {
    if (Status status = check_service_name(service); !status.ok()) return reply(std::move(status));
    Result<std::unique_ptr<Channel>> channel = make_(std::string(service));
    if (!channel.ok()) return reply(channel.status());
    found = channels_.emplace(service, std::move(*channel)).first;
  }
  found->second->call(std::move(request), std::move(reply));
}

}  // namespace nebula
