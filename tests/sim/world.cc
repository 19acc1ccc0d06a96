// sim/world.cc - what befalls processes, and the two phases.
#include "sim/world.h"

#include <algorithm>
#include <span>

namespace nebula::sim {

namespace {

constexpr Duration drain_max = sec(10);
constexpr Duration ample = sec(300);

}  // namespace

World::World(const Plan& plan, bool prints) : ground_(plan, prints), agenda_(ground_.loop), bounces_(ground_.loop) {}

World::~World() = default;

Outcome World::run() {
  start();
  suffer(ground_.plan.fault_phase);
  heal();
  prove();
  end();
  return outcome();
}

Outcome World::outcome() const {
  return {ground_.ledger.violations(), ground_.trace.hash(), ground_.ledger.count(), ground_.ledger.count(Code::ok),
          ground_.trace.elapsed()};
}

// ---- phases

void World::start() {
  for (int i = 0; i < ground_.plan.servers; i++) slots_.push_back({service_name(i % ground_.plan.services), nullptr});
  for (Slot& slot : slots_) start_server(slot);
  for (int i = 0; i < ground_.plan.clients; i++)
    clients_.push_back(std::make_unique<ClientProcess>(ground_, client_generations_++));
}

void World::suffer(Duration length) {
  // After a time of peace the faulty addresses are back.
  if (std::exchange(is_healing_, false))
    for (Slot& slot : slots_) slot.server->announce(false);
  for (std::unique_ptr<ClientProcess>& client : clients_) client->work();
  happen();
  linger(length);
}

void World::heal() {
  ground_.trace.note("heal", "");
  is_healing_ = true;
  agenda_.clear();
  frozen_.clear();
  for (std::unique_ptr<ClientProcess>& client : clients_) client->rest();
  for (Slot& slot : slots_) {
    if (slot.server == nullptr)
      start_server(slot);
    else if (!slot.is_busy)
      announce_clean(slot);
  }
  linger(ground_.plan.down_max);
  linger(ground_.ledger.calm_from() - ground_.loop.now());
  linger(wish_max + drain_max + ground_.plan.settling());
  check_answered();
  for (std::unique_ptr<ClientProcess>& client : clients_) client->cancel_all();
  linger(wish_max + ground_.plan.reach());
  closed_.clear();
  ground_.ledger.check_all_over();
}

// Where the network is perfect, clients must find their way back to an address that they know.
void World::announce_clean(Slot& slot) {
  if (ground_.plan.has_network_faults() || ground_.random.chance(1, 2)) slot.server->announce(true);
}

// By now only those may be open that nothing but their caller would end.
void World::check_answered() {
  for (const auto& [id, call] : ground_.ledger.calls())
    if (call.wish.ends_by_itself() || !call.deadline.is_never())
      ground_.ledger.check_was_answered(call, "long after all faults stopped");
}

void World::prove() {
  ground_.trace.note("prove", "");
  std::vector<const Call*> patient = call_everywhere(ample, true);
  linger(ground_.plan.settling());
  expect_ok(patient);
  std::vector<const Call*> brief = call_everywhere(sec(1), false);
  linger(sec(1));
  expect_ok(brief);
  linger(limits::links_look_interval * 3 + ground_.plan.reach());
  check_sessions();
}

void World::end() {
  ground_.trace.note("end", "");
  agenda_.clear();
  bounces_.clear();
  // Some calls are under way when it ends.
  for (std::unique_ptr<ClientProcess>& client : clients_) {
    Wish wish = Wish::plain(service_name(0), static_cast<Shape>(ground_.random.below(4)), ample, false);
    wish.hangs = ground_.random.chance(1, 2);
    client->call(std::move(wish));
  }
  linger(us(ground_.random.between(0, 10)));
  while (!clients_.empty() || !slots_.empty()) {
    bool takes_client = slots_.empty() || (!clients_.empty() && ground_.random.chance(1, 2));
    if (takes_client)
      clients_.pop_back();
    else
      slots_.pop_back();
    if (ground_.random.chance(1, 2)) linger(ground_.plan.reach());
  }
  linger(ground_.plan.registry_delay);  // the registry itself lives on, and has news for nobody
  ground_.ledger.check_all_over();
  size_t timers = ground_.loop.timer_count(), posts = ground_.loop.post_count();
  if (timers + posts > 0)
    ground_.ledger.violation("all processes are gone, but " + std::to_string(timers) + " timers and " +
                             std::to_string(posts) + " posts are left");
}

// A client has one channel to a name, and that has one connection to each instance, when there are few calls.
void World::check_sessions() {
  for (const Slot& slot : slots_)
    if (size_t count = slot.server->session_count(); count > clients_.size())
      ground_.ledger.violation("instance " + std::to_string(slot.server->instance()) + " has " + std::to_string(count) +
                               " connections from " + std::to_string(clients_.size()) + " clients");
}

std::vector<const Call*> World::call_everywhere(Duration timeout, bool waits) {
  std::vector<const Call*> calls;
  for (std::unique_ptr<ClientProcess>& client : clients_)
    for (int i = 0; i < ground_.plan.services; i++)
      for (int time = 0; time < 2 * ground_.plan.servers; time++)
        calls.push_back(&client->call(Wish::plain(service_name(i), static_cast<Shape>(time % 4), timeout, waits)));
  return calls;
}

void World::expect_ok(const std::vector<const Call*>& calls) {
  for (const Call* call : calls)
    if (!call->has_ended() || call->code != Code::ok)
      ground_.ledger.violation(*call, "had to succeed, for there are no faults any more, but has " +
                                          (call->has_ended() ? std::string(code_name(call->code)) : "not ended"));
}

// ---- events

void World::happen() {
  agenda_.after(ground_.about(ground_.plan.event_pause), [this] {
    strike();
    happen();
  });
}

void World::strike() {
  const Plan& plan = ground_.plan;
  std::vector<Event> events;
  if (plan.kills_servers) events.push_back(&World::kill_server);
  if (plan.drains_servers) events.push_back(&World::drain_server);
  if (plan.closes_servers) events.push_back(&World::close_server);
  if (plan.freezes_servers) events.push_back(&World::freeze_server);
  if (plan.bounces_servers) events.push_back(&World::bounce_server);
  if (plan.renews_leases) events.push_back(&World::renew_lease);
  if (plan.kills_clients) events.push_back(&World::kill_client);
  if (plan.drops_channels) events.push_back(&World::drop_channels);
  if (!events.empty()) (this->*events[ground_.random.below(events.size())])();
}

void World::kill_server() {
  Slot* slot = running_slot();
  if (slot == nullptr) return;
  bury(*slot->server);
  slot->server.reset();
  restart_later(*slot);
}

// The registry finds out later; then nobody waits for the dead any more.
void World::bury(ServerProcess& server) {
  std::string id = server.listed_id();
  std::unique_ptr<Lease> lease = server.die();
  if (lease == nullptr) return;
  Duration lag = nanos(ground_.random.between(0, ground_.plan.registry_lag.ns));
  // Calls that found it under an earlier id are not cut off: that one was withdrawn, not dead.
  int instance = server.has_renewed() ? -1 : server.instance();
  agenda_.after(lag, [this, service = server.service(), id, instance, lease = std::move(lease)] {
    ground_.registry.kill(service, id);
    ground_.ledger.on_upset(service);
    agenda_.after(ground_.plan.settling(), [this, instance] { ground_.ledger.check_has_none(instance); });
  });
}

void World::freeze_server() {
  Slot* slot = running_slot();
  if (slot == nullptr) return;
  slot->server->freeze();
  bury(*slot->server);
  frozen_.push_back(std::move(slot->server));
  restart_later(*slot);
}

void World::drain_server() {
  Slot* slot = running_slot();
  if (slot == nullptr) return;
  slot->is_busy = true;
  Duration wait = nanos(ground_.random.between(0, drain_max.ns));
  Duration listed = ground_.random.chance(1, 2) ? Duration{} : nanos(ground_.random.between(0, wait.ns));
  slot->server->drain(wait, listed, [this, slot] {
    slot->is_busy = false;
    slot->server.reset();
    restart_later(*slot);
  });
}

void World::close_server() {
  Slot* slot = running_slot();
  if (slot == nullptr) return;
  slot->server->close();
  std::erase_if(closed_, [](const std::unique_ptr<ServerProcess>& server) { return server->is_idle(); });
  closed_.push_back(std::move(slot->server));
  restart_later(*slot);
}

void World::bounce_server() {
  Slot* slot = running_slot();
  if (slot == nullptr) return;
  slot->is_busy = true;
  slot->server->crash();
  bounces_.after(nanos(ground_.random.between(0, ground_.plan.down_max.ns)), [this, slot] {
    slot->is_busy = false;
    slot->server->come_back(instances_++);
    if (is_healing_) announce_clean(*slot);
  });
}

void World::renew_lease() {
  if (Slot* slot = running_slot(); slot != nullptr) slot->server->announce(false);
}

void World::kill_client() {
  std::unique_ptr<ClientProcess>* victim = mortal_client();
  if (victim == nullptr) return;
  std::unique_ptr<ClientProcess>& client = *victim;
  client.reset();
  client = std::make_unique<ClientProcess>(ground_, client_generations_++);
  client->work();
}

void World::drop_channels() {
  if (std::unique_ptr<ClientProcess>* client = mortal_client(); client != nullptr) (*client)->drop_channels();
}

std::unique_ptr<ClientProcess>* World::mortal_client() {
  size_t lasting = static_cast<size_t>(ground_.plan.lasting);
  return clients_.size() == lasting ? nullptr : &clients_[lasting + ground_.random.below(clients_.size() - lasting)];
}

World::Slot* World::running_slot() {
  std::vector<Slot*> running;
  for (Slot& slot : std::span(slots_).subspan(static_cast<size_t>(ground_.plan.lasting)))
    if (slot.server != nullptr && !slot.is_busy) running.push_back(&slot);
  return running.empty() ? nullptr : running[ground_.random.below(running.size())];
}

void World::start_server(Slot& slot) {
  slot.server = std::make_unique<ServerProcess>(ground_, slot.service, instances_++);
  slot.server->announce(is_healing_);
}

void World::restart_later(Slot& slot) {
  if (is_healing_) return start_server(slot);
  agenda_.after(nanos(ground_.random.between(0, ground_.plan.down_max.ns)), [this, &slot] { start_server(slot); });
}

}  // namespace nebula::sim
