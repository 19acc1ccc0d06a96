// sim/nodes.cc - moods of nodes, calls at random, and what must hold all the time.
#include "sim/nodes.h"

#include <algorithm>
#include <utility>

namespace nebula::sim {

namespace {

constexpr size_t violations_max = 8;
// By then isolations and ejections have ended: the longest, its jitter, and the time in which nobody asks. So has what
// was slow: 300 ms are a microsecond after 13 times limits::latency_memory, and others here take hardly more.
constexpr Duration recovery = sec(160);

const char* const balancers[] = {"p2c:", "p2c:", "round_robin:", "random:", "least:", "weighted:", "ring_hash:?key=x-key",
                                 "pick_first:"};
const char* const breakers[] = {"ratio:", "ratio:?open=0.2&calls=5", "streak:", "streak:?failures=2", "cost:", "none:"};
const char* const retries[] = {"retry:", "retry:?tries=5&first=1ms", "failtry:", "failfast:", "retry:?tries=2&budget=0.3"};

}  // namespace

NodesPlan NodesPlan::draw(uint64_t seed) {
  Random random(seed ^ 0x6e6f646573u);
  NodesPlan plan;
  plan.seed = seed;
  plan.nodes = static_cast<size_t>(random.between(1, 12));
  size_t balancer = random.below(std::size(balancers)), breaker = random.below(std::size(breakers));
  size_t retry = random.below(std::size(retries));
  bool ejects = random.chance(1, 2);
  plan.policy = std::string("balancer=") + balancers[balancer] + " breaker=" + breakers[breaker] + " " + retries[retry] +
                " ejection=" + (ejects ? "outliers:?interval=1s&first=3s&most=20s&calls=10&share=0.3" : "none:");
  plan.isolated_max = breaker + 1 < std::size(breakers) ? 0.5 : ejects ? 0.3 : 0;
  plan.budget = retry + 1 < std::size(retries) ? 0.1 : 0.3;
  plan.spreads = balancer + 2 < std::size(balancers);
  plan.pause = us(random.between(2'000, 20'000));
  plan.fault_phase = sec(random.between(2, 5));
  plan.timeout = ms(random.between(20, 2'000));
  plan.all_fail = random.chance(1, 5);
  plan.is_deaf = random.chance(1, 2);
  if (random.chance(1, 2)) plan.queues = 4;
  plan.has_one_culprit = !plan.is_deaf && !plan.all_fail && random.chance(1, 2);
  return plan;
}

std::string NodesPlan::text() const {
  return std::to_string(nodes) + " nodes, " + policy + ", a call each " + std::to_string(pause.us()) + " us for " +
         std::to_string(fault_phase.ms()) + " ms, timeout " + std::to_string(timeout.ms()) + " ms" +
         (all_fail ? ", all fail" : "") + (is_deaf ? ", some hang or go" : "") + ", " + std::to_string(queues) +
         (queues == 1 ? " queue" : " queues") + (has_one_culprit ? ", one culprit" : "");
}

NodesWorld::NodesWorld(const NodesPlan& plan)
    : plan_(plan), random_(plan.seed), cluster_(plan.seed), nodes_(plan.nodes) {
  for (Node& node : nodes_) {
    node.instance = cluster_.serve("hello", "n" + std::to_string(&node - nodes_.data()));
    node.instance->greet.answer_by([this, &node](Request request, Reply reply) {
      handle(node, std::move(request), std::move(reply));
    });
  }
  for (size_t queue = 0; queue < plan.queues; queue++) {
    channels_.push_back(cluster_.channel_with(plan.policy));
    channels_.back()->share(commons_, "hello");
  }
}

std::vector<std::string> NodesWorld::run() {
  SimLoop& loop = cluster_.world.loop;
  for (const std::unique_ptr<Channel>& channel : channels_) call(*channel);  // each knows the nodes
  loop.run_for(ms(10));
  for (Time end = loop.now() + plan_.fault_phase; loop.now() < end;) {
    suffer_on();
    run_for(ms(random_.between(50, 1'000)));
  }
  // Nothing is wrong any more: in time nothing goes wrong any more either.
  for (Node& node : nodes_) set_mood(node, Mood::well);
  held_.clear();
  for (Time end = loop.now() + recovery; loop.now() < end;) {
    call(any_channel());
    loop.run_for(ms(250));
    look();
  }
  must_succeed_ = true;
  for (Node& node : nodes_) node.runs = 0;
  run_for(sec(1) + plan_.pause * 40 * static_cast<int64_t>(plan_.nodes));
  loop.run_for(sec(1));
  for (const Node& node : nodes_)
    if (plan_.spreads && node.runs == 0) violation(node.instance->id + " gets no calls, though all is well");
  for (const std::unique_ptr<Channel>& channel : channels_)
    if (plan_.spreads && channel->isolated_count() > 0) violation("a node is isolated, though all is well");

  for (auto& [id, asked] : asked_)
    if (asked.call->answers == 0 && asked.deadline.is_never())
      violation("call " + std::to_string(id) + " was never answered");
  double most = static_cast<double>(asked_.size()) * (1 + plan_.budget) + static_cast<double>(limits::retry_reserve);
  // What each has in hand at first it may spend before it has heard of the others.
  most += static_cast<double>(limits::retry_reserve) * static_cast<double>(plan_.queues - 1);
  if (static_cast<double>(runs_) > most)
    violation(std::to_string(runs_) + " attempts of " + std::to_string(asked_.size()) + " calls");
  channels_.clear();
  held_.clear();
  timers_.clear();
  return violations_;
}

// ---- the callers

void NodesWorld::call(Channel& channel) {
  uint64_t id = asked_.size() + 1;
  Asked& asked = asked_[id];
  if (random_.chance(1, 2)) asked.deadline = cluster_.world.loop.now() + plan_.timeout;
  asked.call = std::make_unique<kit::Call>("/hello/greet", "hi", asked.deadline);
  asked.call->is_idempotent = random_.chance(2, 3);
  asked.call->metadata.add("x-call", std::to_string(id));
  asked.call->metadata.add("x-key", std::to_string(random_.below(100)));
  asked.call->then = [this, id, &asked] {
    if (asked.call->answers > 1) violation("call " + std::to_string(id) + " was answered twice");
    if (cluster_.world.loop.now() > asked.deadline) violation("call " + std::to_string(id) + " ended after its deadline");
    if (must_succeed_ && asked.call->code() != Code::ok)
      violation("call " + std::to_string(id) + " failed, though all is well: " + asked.call->end());
  };
  cluster_.start(channel, *asked.call);
}

void NodesWorld::run_for(Duration length) {
  SimLoop& loop = cluster_.world.loop;
  for (Time end = loop.now() + length; loop.now() < end;) {
    call(any_channel());
    loop.run_for(nanos(random_.between(1, 2 * plan_.pause.ns)));
    look();
  }
}

// At any moment.
void NodesWorld::look() {
  for (const std::unique_ptr<Channel>& channel : channels_) look_at(*channel);
  if (plan_.has_one_culprit) look_at_what_they_share();
}

// Whom one queue has just found to fail the others leave alone too. With one culprit, none of them is at its bound.
void NodesWorld::look_at_what_they_share() {
  for (const std::unique_ptr<Channel>& one : channels_) {
    uint64_t found = 0;
    for (const NodeReport& node : one->report().nodes) found += node.counts.isolations + node.counts.ejections;
    if (std::exchange(found_[one.get()], found) == found) continue;
    for (const std::unique_ptr<Channel>& other : channels_)
      if (other->isolated_count() == 0) violation("one queue has found the culprit, and another calls it");
  }
}

void NodesWorld::look_at(Channel& channel) {
  size_t nodes = channel.node_count(), isolated = channel.isolated_count();
  size_t most = std::max<size_t>(1, static_cast<size_t>(plan_.isolated_max * static_cast<double>(nodes)));
  if (plan_.isolated_max == 0) most = 0;
  if (isolated > most)
    violation(std::to_string(isolated) + " of " + std::to_string(nodes) + " nodes are isolated, " +
              std::to_string(most) + " may be");
  if (nodes > 0 && isolated == nodes) violation("all nodes are isolated");
}

// ---- the nodes

void NodesWorld::suffer_on() {
  if (plan_.all_fail) {
    for (Node& node : nodes_) node.mood = Mood::failing;
    return;
  }
  Node& node = plan_.has_one_culprit ? nodes_.front() : nodes_[random_.below(nodes_.size())];
  set_mood(node, static_cast<Mood>(random_.below(plan_.is_deaf ? 5 : 3)));
}

void NodesWorld::set_mood(Node& node, Mood mood) {
  kit::Instance& instance = *node.instance;
  if (node.mood == Mood::gone && mood != Mood::gone) {
    kit::SimWorld& world = cluster_.world;
    instance.server = std::make_unique<Server>(world.loop, world.network, world.log, instance.router, ServerLimits{});
    NEBULA_ASSERT(instance.server->listen(kit::url("mem:" + instance.id)).ok());
  }
  node.mood = mood;
  if (mood == Mood::gone) instance.server.reset();
}

void NodesWorld::handle(Node& node, Request request, Reply reply) {
  uint64_t id = std::strtoull(std::string(request.metadata.find("x-call").value_or("0")).c_str(), nullptr, 10);
  Asked& asked = asked_.at(id);
  node.runs++;
  runs_++;
  if (++asked.runs > 1 && !asked.call->is_idempotent)
    violation("call " + std::to_string(id) + " ran twice, which it must not");
  if (asked.call->answers > 0) violation("call " + std::to_string(id) + " ran after it had ended");
  if (cluster_.world.loop.now() > asked.deadline) violation("call " + std::to_string(id) + " ran after its deadline");
  uint64_t held = next_held_++;
  switch (node.mood) {
    case Mood::failing:
      return reply(random_.chance(1, 2) ? unavailable("broken") : internal("broken"));
    case Mood::hanging:
      held_.emplace(held, std::move(reply));
      return;
    case Mood::slow:
      held_.emplace(held, std::move(reply));
      timers_[held] = cluster_.world.loop.after(ms(random_.between(10, 300)), [this, held] {
        if (auto found = held_.extract(held)) found.mapped()(kit::with("late"));
      });
      return;
    default: return kit::echo()(std::move(request), std::move(reply));
  }
}

void NodesWorld::violation(std::string what) {
  if (violations_.size() < violations_max) violations_.push_back("nodes: " + std::move(what));
}

}  // namespace nebula::sim
