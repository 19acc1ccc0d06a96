// sim/plan.cc - the dice.
#include "sim/plan.h"

#include <algorithm>
#include <utility>

#include "service/links.h"

namespace nebula::sim {

namespace {

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}

  bool toss() { return random_.chance(1, 2); }
  bool one_in(uint64_t whole) { return random_.chance(1, whole); }
  int64_t between(int64_t from, int64_t to) { return random_.between(from, to); }
  // Small values as often as large ones: the powers of two between are equally likely. Above 0.
  int64_t scale(int64_t from, int64_t to) {
    int doublings = 0;
    while (from << (doublings + 1) <= to) doublings++;
    int64_t least = from << between(0, doublings);
    return between(least, std::min(2 * least, to));
  }

 private:
  Random random_;
};

void draw_network(Dice& dice, Plan* plan) {
  if (dice.one_in(3)) return;
  if (dice.toss()) plan->delay_max = us(dice.scale(1, 200'000));
  if (dice.toss()) plan->split_max = static_cast<uint64_t>(dice.one_in(3) ? 1 : dice.scale(2, 4096));
  if (dice.toss()) plan->cut_after = static_cast<uint64_t>(dice.scale(100, 300'000));
  if (dice.one_in(3)) plan->stall = ms(dice.scale(1, 3000));
  if (plan->delay_max == Duration{} && plan->stall == Duration{} && plan->split_max + plan->cut_after == 0) return;
  plan->faults_at_dial = dice.toss();
  plan->faults_at_listen = !plan->faults_at_dial || dice.one_in(3);
}

void draw_events(Dice& dice, Plan* plan) {
  plan->event_pause = ms(dice.between(200, 5000));
  if (dice.toss()) plan->registry_delay = ms(dice.scale(1, 50));
  plan->registry_lag = ms(dice.scale(1, 4000));
  plan->down_max = ms(dice.scale(1, 4000));
  plan->lists_dead_urls = dice.one_in(4);
  if (dice.one_in(4)) return;
  plan->kills_servers = dice.toss();
  plan->drains_servers = dice.toss();
  plan->closes_servers = dice.one_in(4);
  plan->freezes_servers = dice.one_in(4);
  plan->bounces_servers = dice.one_in(4);
  plan->kills_clients = dice.one_in(3);
  plan->drops_channels = dice.one_in(3);
  plan->renews_leases = dice.one_in(4);
}

void draw_calls(Dice& dice, Plan* plan) {
  plan->burst_pause = ms(dice.scale(5, 2000));
  plan->burst_max = static_cast<uint64_t>(dice.scale(1, 40));
  plan->calls_max = static_cast<uint64_t>(dice.between(20, 500));
  plan->is_oversize = dice.one_in(3);
  plan->has_metadata = dice.toss();
  plan->has_deadlines = dice.toss();
  plan->has_cancels = dice.toss();
  plan->has_waits = dice.toss();
  plan->has_slow_handlers = dice.toss();
  plan->has_hung_handlers = dice.one_in(3);
  plan->has_errors = dice.one_in(3);
  plan->has_strangers = dice.one_in(4);
  plan->has_chains = dice.one_in(3);
  plan->has_streams = !dice.one_in(3);
}

// Enough on one connection to use its window up several times, in half of those runs.
void draw_volume(Dice& dice, Plan* plan) {
  plan->calls_max = static_cast<uint64_t>(dice.between(20, 150));
  // A faulty connection holds 256 KiB at a time: if that took seconds, it would look like a hang.
  plan->delay_max = std::min(plan->delay_max, ms(20));
  plan->stall = std::min(plan->stall, ms(50));
  if (dice.toss()) return;
  plan->clients = plan->servers = plan->services = 1;
  plan->cut_after = 0;
}

// Messages that fill windows are dear, so few runs have them.
void draw_sizes(Dice& dice, Plan* plan) {
  bool is_large = dice.one_in(16) && (plan->split_max == 0 || plan->split_max > 1000);
  plan->message_bytes_max = is_large ? 4u << 20 : static_cast<size_t>(dice.scale(1 << 10, 64 << 10));
  plan->bytes_max = is_large ? 2u << 20 : plan->message_bytes_max;
  if (plan->split_max > 0 && plan->split_max < 16) plan->bytes_max = std::min<size_t>(plan->bytes_max, 2000);
  if (is_large) draw_volume(dice, plan);
  // More at once than a peer allows: 100 before its SETTINGS are there, 1000 after.
  if (is_large || !dice.one_in(12)) return;
  plan->burst_max = dice.one_in(3) ? 1500 : 150;
  plan->calls_max = std::max(plan->calls_max, plan->burst_max * 3 / 2);
  plan->bytes_max = std::min<size_t>(plan->bytes_max, 200);
  plan->has_metadata = false;
  plan->has_slow_handlers = true;
}

// Drawn after all else, so that the other plans are as they were.
void draw_silence(Dice& dice, Plan* plan) {
  if (!dice.one_in(10)) return;
  plan->silent_after = static_cast<uint64_t>(dice.scale(200, 100'000));
  // At one end, for two that nobody owns any more would wait for each other.
  plan->faults_at_dial = !plan->faults_at_listen || plan->faults_at_dial;
  plan->faults_at_listen = !plan->faults_at_dial;
}

// Few calls on one connection, so that clients need several. All that a plan allows fit on those of one client, and none
// takes its place for ever: what waits for a connection is not answered by the end of others.
void draw_narrow(Dice& dice, Plan* plan) {
  if (!dice.one_in(6)) return;
  plan->streams_max = static_cast<uint32_t>(dice.scale(1, 16));
  plan->calls_max = std::min<uint64_t>(plan->calls_max, plan->streams_max * limits::links_max);
  plan->has_hung_handlers = false;
}

}  // namespace

Plan Plan::draw(uint64_t seed) {
  Dice dice(seed);
  Plan plan;
  plan.seed = seed;
  plan.clients = static_cast<int>(dice.between(1, 4));
  plan.servers = static_cast<int>(dice.between(1, 4));
  plan.services = plan.servers > 1 && dice.one_in(3) ? 2 : 1;
  plan.fault_phase = sec(dice.between(2, 40));
  draw_network(dice, &plan);
  draw_events(dice, &plan);
  draw_calls(dice, &plan);
  draw_sizes(dice, &plan);
  draw_silence(dice, &plan);
  draw_narrow(dice, &plan);
  return plan;
}

Plan Plan::churn() {
  Plan plan;
  plan.clients = 4;
  plan.servers = 4;
  plan.services = 2;
  plan.lasting = 1;  // what it gathers from those that come and go would show
  plan.fault_phase = sec(3600);
  plan.message_bytes_max = 16 << 10;
  plan.delay_max = ms(2);
  plan.cut_after = 40'000;
  plan.faults_at_dial = true;
  plan.kills_servers = plan.drains_servers = plan.closes_servers = plan.freezes_servers = plan.bounces_servers = true;
  plan.kills_clients = plan.drops_channels = plan.renews_leases = plan.lists_dead_urls = true;
  plan.event_pause = ms(500);
  plan.registry_lag = ms(50);
  plan.down_max = ms(500);
  plan.burst_pause = ms(300);
  plan.burst_max = 10;
  plan.calls_max = UINT64_MAX;
  plan.bytes_max = 2000;
  plan.is_oversize = plan.has_metadata = plan.has_deadlines = plan.has_cancels = plan.has_waits = true;
  plan.has_slow_handlers = plan.has_hung_handlers = plan.has_errors = plan.has_strangers = plan.has_chains = true;
  plan.has_streams = true;
  return plan;
}

// Found out after an interval and the timeout, which here is as long.
Keepalive Plan::keepalive() const {
  return silent_after == 0 ? Keepalive{} : Keepalive{limits::keepalive_interval_min, limits::keepalive_interval_min, true};
}

std::string Plan::text() const {
  std::string text = std::to_string(clients) + " clients, " + std::to_string(servers) + " servers of " +
                     std::to_string(services) + " names, " + std::to_string(fault_phase.ms()) + " ms; network:";
  if (!has_network_faults()) text += " perfect";
  if (delay_max > Duration{}) text += " delay<=" + std::to_string(delay_max.us()) + "us";
  if (stall > Duration{}) text += " stall=" + std::to_string(stall.ms()) + "ms";
  if (split_max > 0) text += " split<=" + std::to_string(split_max);
  if (cut_after > 0) text += " cut<=" + std::to_string(cut_after);
  if (silent_after > 0) text += " silent<=" + std::to_string(silent_after);
  if (faults_at_dial) text += " (at dial)";
  if (faults_at_listen) text += " (at listen)";
  text += "; events about every " + std::to_string(event_pause.ms()) + " ms:";
  for (auto [is_on, name] : {std::pair(kills_servers, "kill"), {drains_servers, "drain"}, {closes_servers, "close"},
                             {freezes_servers, "freeze"},
                             {bounces_servers, "bounce"},
                             {kills_clients, "kill-client"}, {drops_channels, "drop-channel"}, {renews_leases, "renew"},
                             {lists_dead_urls, "dead-urls"}})
    if (is_on) text.append(" ").append(name);
  text += ", registry " + std::to_string(registry_delay.ms()) + " ms late, dead ones listed " +
          std::to_string(registry_lag.ms()) + " ms; calls: up to " + std::to_string(calls_max) + " in bursts of " +
          std::to_string(burst_max) + ", up to " + std::to_string(bytes_max) + " bytes, limit " +
          std::to_string(message_bytes_max);
  if (streams_max != limits::streams_max) text += ", " + std::to_string(streams_max) + " at a time";
  for (auto [is_on, name] : {std::pair(is_oversize, "oversize"), {has_metadata, "metadata"},
                             {has_deadlines, "deadlines"}, {has_cancels, "cancels"}, {has_waits, "waits"}, {has_slow_handlers, "slow"},
                             {has_hung_handlers, "hung"}, {has_errors, "errors"}, {has_strangers, "strangers"},
                             {has_chains, "chains"}, {has_streams, "streams"}})
    if (is_on) text.append(" ").append(name);
  return text;
}

}  // namespace nebula::sim
