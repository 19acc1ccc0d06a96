// sim/fleet.cc - calls, events, and the two phases.
#include "sim/fleet.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace nebula::sim {

namespace {

constexpr size_t violations_max = 8;
constexpr Duration down_max = ms(500);       // until another comes in the place of one that has gone
constexpr Duration lost_max = sec(3);        // a registry
constexpr Duration unwell_max = sec(2);
constexpr Duration timeout_min = sec(2);     // of calls that have one: none of them takes as long
constexpr Duration recovery = sec(12);       // slow start and the longest drain are over
constexpr Duration sparse = ms(250);
constexpr int calls_counted = 150;           // of each queue, at the end
constexpr double weight_noise = 4;           // of them: turns that began before, and end after

}  // namespace

FleetWorld::FleetWorld(const FleetPlan& plan, bool prints)
    : plan_(plan),
      world_(plan.seed),
      random_(plan.seed + 0x666c),
      trace_(world_.loop, prints),
      site_(world_.loop, plan.registry_delay),
      checks_(fleet_checks(members_)),
      agenda_(world_.loop) {
  for (const MemberKind& kind : plan_.members) add_member(kind);
  for (size_t at = 0; at < plan_.programs; at++)
    programs_.push_back(
        std::make_unique<Program>(world_, drivers_, site_, plan_.queues, FleetPolicy::draw(random_)));
}

FleetWorld::~FleetWorld() {
  programs_.clear();
  calls_.clear();
}

FleetOutcome FleetWorld::run() {
  run_for(ms(100));
  call_all(5, ms(20));  // everybody knows everybody
  happen();
  for (Time end = world_.loop.now() + plan_.fault_phase; world_.loop.now() < end;) {
    for (const std::unique_ptr<Program>& program : programs_) call(*program, random_.below(plan_.queues));
    run_for(nanos(random_.between(1, 2 * plan_.pause.ns)));
  }
  heal();
  prove();
  is_over_ = true;
  return {violations_, trace_.hash()};
}

// ---- the callers

void FleetWorld::call(Program& program, size_t queue) {
  uint64_t id = calls_.size() + 1;
  Calling& calling = calls_[id];
  Time now = world_.loop.now();
  calling.asked = {.id = id, .program = &program, .queue = queue, .begun = now, .is_idempotent = random_.chance(1, 2)};
  if (random_.chance(1, 2)) calling.asked.deadline = now + timeout_min + ms(random_.between(0, 1'000));
  calling.call = std::make_unique<kit::Call>("/" + fleet_service + "/greet", "hi", calling.asked.deadline);
  calling.call->is_idempotent = calling.asked.is_idempotent;
  calling.call->metadata.add("x-call", std::to_string(id));
  calling.call->metadata.add("x-key", std::to_string(random_.below(100)));
  calling.call->then = [this, &calling] { on_end(calling); };
  program.channel(queue).call(calling.call->request(), calling.call->reply());
}

void FleetWorld::call_all(int times, Duration pause) {
  for (; times > 0; times--) {
    for (const std::unique_ptr<Program>& program : programs_)
      for (size_t queue = 0; queue < program->queue_count(); queue++) call(*program, queue);
    run_for(pause);
  }
}

void FleetWorld::on_visit(Member& member, const Request& request) {
  uint64_t id = std::strtoull(std::string(request.metadata.find("x-call").value_or("0")).c_str(), nullptr, 10);
  trace_.note("call", id, member.name());
  Asked& asked = calls_.at(id).asked;
  asked.runs++;
  counts_[{asked.program, asked.queue}][&member]++;
  bool is_first = !request.metadata.find("grpc-previous-rpc-attempts");
  for (const std::unique_ptr<Check>& check : checks_)
    if (std::string what = check->on_visit({asked, member, is_first, world_.loop.now()}); !what.empty())
      violation("call " + std::to_string(id) + " to " + member.name() + " " + what + "; " + asked.program->policy().text);
}

void FleetWorld::on_end(Calling& calling) {
  calling.asked.ends++;
  if (is_over_) return;
  trace_.note("end", calling.asked.id, code_name(calling.call->code()));
  for (const std::unique_ptr<Check>& check : checks_)
    if (std::string what = check->on_end(calling.asked, calling.call->code(), world_.loop.now()); !what.empty())
      violation("call " + std::to_string(calling.asked.id) + " " + what + ": " + calling.call->end() + "; " +
                calling.asked.program->policy().text);
}

// ---- what happens

void FleetWorld::happen() {
  agenda_.after(nanos(random_.between(0, 2 * plan_.event_pause.ns)), [this] {
    if (is_healing_) return;
    std::vector<void (FleetWorld::*)()> events;
    if (plan_.restarts) events.push_back(&FleetWorld::restart);
    if (plan_.kills) events.push_back(&FleetWorld::kill);
    if (plan_.loses_registries) events.push_back(&FleetWorld::lose_registry);
    if (plan_.sickens) events.push_back(&FleetWorld::sicken);
    if (plan_.changes_policies) events.push_back(&FleetWorld::change_policy);
    if (!events.empty()) (this->*events[random_.below(events.size())])();
    happen();
  });
}

void FleetWorld::add_member(MemberKind kind) {
  int number = static_cast<int>(members_.size());
  members_.push_back(std::make_unique<Member>(world_, site_, number, std::move(kind), [this](Member& member, const Request& request) {
    on_visit(member, request);
  }));
  trace_.note("start", members_.back()->name(), members_.back()->kind().is_near ? "near" : "far");
}

// Another version, perhaps on the other host.
void FleetWorld::replace(const Member& member) {
  MemberKind kind = member.kind();
  if (random_.chance(1, 3)) kind.is_near = !kind.is_near;
  agenda_.after(nanos(random_.between(0, down_max.ns)), [this, kind] { add_member(kind); });
}

Member* FleetWorld::one_to_spare() {
  auto serves = [](const std::unique_ptr<Member>& each) { return each->is_up() && each->is_well(); };
  std::vector<Member*> all;
  for (const std::unique_ptr<Member>& each : members_) {
    auto is_other = [&](const std::unique_ptr<Member>& other) {
      return other != each && serves(other) && other->kind().group == each->kind().group;
    };
    if (serves(each) && std::any_of(members_.begin(), members_.end(), is_other)) all.push_back(each.get());
  }
  return all.empty() ? nullptr : all[random_.below(all.size())];
}

void FleetWorld::restart() {
  Member* member = one_to_spare();
  if (member == nullptr) return;
  trace_.note("drain", member->name());
  member->drain([this, member] {
    trace_.note("drained", member->name());
    member->end();
    replace(*member);
  });
}

void FleetWorld::kill() {
  Member* member = one_to_spare();
  if (member == nullptr) return;
  trace_.note("kill", member->name());
  member->kill();
  agenda_.after(nanos(random_.between(0, plan_.registry_lag.ns)), [member] { member->bury(); });
  replace(*member);
}

void FleetWorld::lose_registry() {
  LossyRegistry& registry = random_.chance(1, 2) ? site_.near : site_.far;
  if (registry.is_lost()) return;
  trace_.note("lose", &registry == &site_.near ? "near" : "far");
  registry.lose();
  agenda_.after(nanos(random_.between(0, lost_max.ns)), [this, &registry] {
    trace_.note("back", &registry == &site_.near ? "near" : "far");
    registry.come_back();
  });
}

void FleetWorld::sicken() {
  Member* member = one_to_spare();
  if (member == nullptr) return;
  trace_.note("sicken", member->name());
  member->set_well(false);
  agenda_.after(nanos(random_.between(0, unwell_max.ns)), [this, member] {
    if (!member->is_up()) return;
    trace_.note("well", member->name());
    member->set_well(true);
  });
}

void FleetWorld::change_policy() {
  Program& program = *programs_[random_.below(programs_.size())];
  FleetPolicy policy = FleetPolicy::draw(random_);
  trace_.note("policy", policy.text);
  program.set_policy(std::move(policy));
}

// ---- the end of it

// As things are.
std::vector<const Member*> FleetWorld::used_by(const Program& program) const {
  const std::string& group = program.policy().group;
  std::vector<const Member*> used;
  for (const std::unique_ptr<Member>& each : members_)
    if (each->is_up() && (group.empty() || each->kind().group == group)) used.push_back(each.get());
  return used;
}

// What has begun takes its course, and nothing else begins.
void FleetWorld::heal() {
  trace_.note("heal", "");
  is_healing_ = true;
  for (const std::unique_ptr<Program>& program : programs_) program->set_policy(FleetPolicy::draw(random_));
  call_all(static_cast<int>(recovery.ns / sparse.ns), sparse);
}

void FleetWorld::prove() {
  for (const std::unique_ptr<Program>& program : programs_) {
    std::vector<const Member*> used = used_by(*program);
    for (size_t queue = 0; queue < program->queue_count(); queue++) {
      Channel& channel = program->channel(queue);
      if (channel.node_count() != used.size())
        violation("a channel has " + std::to_string(channel.node_count()) + " nodes, but there are " +
                  std::to_string(used.size()) + " instances for it; " + program->policy().text);
      for (const NodeReport& node : channel.report().nodes)
        if (node.state != "usable") violation("all is well, but a node is " + node.state + "; " + program->policy().text);
    }
  }
  counts_.clear();
  call_all(calls_counted, ms(7));
  run_for(sec(1));
  for (const std::unique_ptr<Program>& program : programs_) check_shares(*program);
  for (const auto& [id, calling] : calls_)
    if (calling.asked.ends == 0) violation("call " + std::to_string(id) + " was never answered");
}

// Those of the first registry that has any: all of them are called, and by weight each queue gives each its share.
void FleetWorld::check_shares(const Program& program) {
  std::vector<const Member*> used = used_by(program);
  auto is_near = [](const Member* member) { return member->kind().is_near; };
  if (std::any_of(used.begin(), used.end(), is_near)) std::erase_if(used, [&](const Member* member) { return !is_near(member); });
  double strength = 0;
  for (const Member* member : used) strength += 1 / member->kind().utilization;
  for (const Member* member : used) {
    uint64_t all = 0;
    double share = calls_counted / member->kind().utilization / strength;
    for (size_t queue = 0; queue < program.queue_count(); queue++) {
      uint64_t count = counts_[{&program, queue}][member];
      all += count;
      if (program.policy().weighs && std::abs(static_cast<double>(count) - share) > weight_noise)
        violation(member->name() + " got " + std::to_string(count) + " of " + std::to_string(calls_counted) +
                  " calls of a queue, not " + std::to_string(std::lround(share)) + "; " + program.policy().text);
    }
    if (program.policy().spreads && all == 0)
      violation(member->name() + " gets no calls, though all is well; " + program.policy().text);
  }
}

void FleetWorld::violation(std::string what) {
  if (violations_.size() < violations_max) violations_.push_back("fleet: " + std::move(what));
}

}  // namespace nebula::sim
