// service/node.cc - connect, back off, measure, isolate, drain.
#include "service/node.h"

#include <algorithm>

#include "base/log.h"
#include "base/random.h"
#include "service/widening.h"
#include "transport/network.h"

namespace nebula {

Node::Node(const Env& env, Endpoint self, NodeEvents& up, const SessionOptions& session, uint64_t number)
    : env_(env), up_(up), number_(number), session_(session) {
  endpoint = std::move(self);
  if (endpoint.unwell) become_unwell();
  Duration& interval = session_.keepalive.interval;
  if (interval > Duration{}) interval = std::max(interval, limits::keepalive_interval_min);
}

// First the connections: their calls end, and tell all of a node.
Node::~Node() { links_.cut(); }

void Node::set_endpoint(const Endpoint& now) {
  Endpoint before = std::exchange(endpoint, now);
  if (before.draining == now.draining && before.unwell == now.unwell) return;
  // Nothing new is opened there, and a dial that is under way is not wanted any more.
  if (now.draining && state_ == State::connecting) state_ = State::idle;
  if (now.unwell && !before.unwell) become_unwell();
  if (before.unwell && !links_.empty() && links_.oldest()->is_ready()) return welcome();
  update_usable();
}

// Its connection is made and kept, for the moment when it serves again.
void Node::become_unwell() {
  is_newcomer_ = true;
  unwell_ = unavailable("instance " + endpoint.id + " says in the registry that it does not serve");
  NEBULA_LOG(env_.log, info, std::string(unwell_.message()));
}

void Node::connect() {
  if (state_ != State::idle || endpoint.draining) return;
  state_ = State::connecting;
  dialled_ = env_.loop.now();
  dial(0, {});
}

// Tries the endpoint's addresses one after the other: they are in order of preference.
void Node::dial(size_t url_index, std::string failures) {
  if (url_index == endpoint.urls.size()) {
    counts.connect_failures++;
    return back_off(unavailable(failures.empty() ? "the record has no address" : std::move(failures)));
  }
  dials_open_++;
  dial_beside(url_index);
  env_.network.dial(endpoint.urls[url_index], [self = anchor_.ref(), url_index, turn = ++dial_turn_,
                                               failures = std::move(failures)](
                                                  Result<std::unique_ptr<Conn>> conn) mutable {
    Node* node = self.get();
    if (node == nullptr) return;
    node->dials_open_--;
    if (node->state_ != State::connecting) return;
    if (conn.ok()) {
      node->url_index_ = url_index;
      return node->use(std::move(*conn));
    }
    if (turn != node->dial_turn_) return;
    failures.append(failures.empty() ? "" : "; ").append(conn.status().message());
    node->dial(url_index + 1, std::move(failures));
  });
}

// What went into a black hole is sent again by TCP, in pauses that double.
void Node::dial_beside(size_t url_index) {
  int64_t patience = limits::backoff_in_need.ns;
  if (dials_open_ > 1) patience = env_.random.between(patience * 3 / 4, patience);
  patience_timer_ = env_.loop.after({patience}, [this, url_index] {
    if (state_ != State::connecting) return;
    if (dials_open_ >= limits::dials_at_once_max || !up_.is_in_need()) return dial_beside(url_index);
    dial((url_index + 1) % endpoint.urls.size(), {});
  });
}

void Node::use(std::unique_ptr<Conn> conn) {
  NEBULA_LOG(env_.log, debug, "connected to " + conn->peer().address);
  if (links_.empty()) {
    state_ = State::connected;
    trouble_ = {};
    is_full_ = false;
    load.restart();
  }
  links_.add(std::make_unique<Link>(env_, std::move(conn), session_, static_cast<LinkEvents&>(*this)));
}

bool Node::widen() {
  if (widening_ != nullptr && widening_->is_under_way()) return true;
  if (!is_full_ || is_isolated() || retired_ || endpoint.draining || !links_.want_more()) return false;
  if (widening_ == nullptr)
    widening_ = std::make_unique<Widening>(
        env_, [this](Result<std::unique_ptr<Conn>> conn) { on_widened(std::move(conn)); }, [this] { update_usable(); });
  if (!widening_->start(endpoint.urls[url_index_], inflight, counts.attempts)) return false;
  dialled_ = env_.loop.now();
  return true;
}

// That it could not be had is held against nobody: calls go on waiting for their turn. And where there was one connection
// when it was asked for, there may be none now.
void Node::on_widened(Result<std::unique_ptr<Conn>> conn) {
  bool is_wanted = state_ == State::connected || state_ == State::connecting;
  if (conn.ok() && is_wanted) return use(std::move(*conn));
  counts.connect_failures += !conn.ok();
  widening_->on_failed();
  update_usable();  // for those who wait will want it again
}

void Node::reconnect(Status why) {
  Time now = env_.loop.now();
  if (now < reconnect_after_) return back_off(std::move(why));
  reconnect_after_ = now + limits::backoff_first;
  state_ = State::idle;
  connect();
  update_usable();
}

void Node::back_off(Status why) {
  NEBULA_LOG(env_.log, debug, "instance " + endpoint.id + ": " + std::string(why.message()));
  state_ = State::waiting;
  is_newcomer_ = true;
  trouble_ = std::move(why);
  // Jitter of a fifth, so that clients that lost a server together do not come back together.
  Duration base = std::min(backoff_, backoff_max_);
  Duration wait = {env_.random.between(base.ns * 4 / 5, base.ns * 6 / 5)};
  backoff_ = std::min(Duration{base.ns * 8 / 5}, backoff_max_);
  retry_after(wait);
  if (up_.is_in_need()) hurry();
  update_usable();
}

void Node::retry_after(Duration wait) {
  retried_ = env_.loop.now() + wait;
  retry_timer_ = env_.loop.after(wait, [this] {
    state_ = State::idle;
    connect();
  });
}

// Half of the pause is by chance, for a partition ends for all clients at once.
void Node::hurry() {
  if (state_ != State::waiting || retried_ - env_.loop.now() <= limits::backoff_in_need) return;
  retry_after({env_.random.between(limits::backoff_in_need.ns / 2, limits::backoff_in_need.ns)});
}

Status Node::call(std::string_view authority, size_t message_bytes_max, Request& request, Reply& reply,
                  Again* again) {
  Link* link = links_.pick();
  Status status = link != nullptr ? link->start(authority, message_bytes_max, request, reply, again)
                                  : resource_exhausted("each connection has as many calls as the peer takes");
  while (!status.ok() && link != nullptr && (link = links_.pick_instead(*link, status.code())) != nullptr)
    status = link->start(authority, message_bytes_max, request, reply, again);
  if (status.code() == Code::resource_exhausted || status.code() == Code::aborted) is_full_ = true;
  usable = status.ok() && isolation_.admits() && !endpoint.draining;
  return status;
}

uint32_t Node::on_call_started() {
  inflight++;
  counts.attempts++;
  if (isolation_.state() == Isolation::State::half_open) isolation_.on_probe();
  return era_;
}

void Node::on_call_begun(uint32_t era, Duration took) {
  counts.add_latency(Histogram::bucket_of(took), took);
  if (!is_measured_ || era != era_) return;
  latency.add(took, env_.loop.now());
  judge(Verdict::good, took);
}

// What failed says nothing good of a node, however soon it did; and one that was not waited for to the end may be slow.
void Node::on_call_ended(uint32_t era, Code code, Fate fate, std::optional<Duration> took, size_t bucket) {
  if (took) counts.add_latency(bucket, *took);
  if (code == Code::ok)
    up_.on_call_succeeded();
  else
    counts.failures += verdict_of(code, fate) == Verdict::bad;
  bool is_lost = fate == Fate::unknown && code != Code::unavailable;  // that: its connection has ended
  if (is_lost && took) links_.on_call_lost(Time{env_.loop.now().ns - took->ns});
  if (era != era_) return;
  inflight--;
  if (!is_measured_) return;
  Verdict verdict = verdict_of(code, fate);
  if (took || verdict == Verdict::bad) judge(verdict, took.value_or(Duration{}));  // a stream was good when it began
  if (!took || fate == Fate::unsent || fate == Fate::unprocessed || fate == Fate::refused) return;
  if (code == Code::ok)
    latency.add(*took, env_.loop.now());
  else
    latency.add_failure(*took, env_.loop.now());
}

void Node::on_load_report(std::string_view text) {
  if (load_options_ == nullptr) return;
  if (std::optional<LoadReport> report = LoadReport::parse(text)) load.add(*report, env_.loop.now(), *load_options_);
}

// ---- left alone

void Node::judge(Verdict verdict, Duration took) {
  Time now = env_.loop.now();
  bool is_probe = isolation_.state() == Isolation::State::half_open;
  if (verdict != Verdict::none) {
    outcome_.calls++;
    outcome_.failures += verdict == Verdict::bad;
  }
  if (is_probe) {
    isolation_.on_probe_ended(verdict, now);
    if (!is_isolated()) newcomer_since = now;
    if (verdict != Verdict::bad) return update_usable();
  } else if (verdict == Verdict::none || breaker_ == nullptr || is_isolated() ||
             !breaker_->record(verdict == Verdict::bad, took, now)) {
    return;
  }
  if (up_.may_isolate(*this)) {
    counts.isolations++;
    up_.on_isolated(*this, isolate(limits::isolation_first, limits::isolation_max));
  } else if (is_probe) {
    restore();
  }
}

Time Node::isolate(Duration first, Duration most) {
  Duration length = isolation_.open(env_.loop.now(), env_.random, first, most);
  NEBULA_LOG(env_.log, info, "instance " + endpoint.id + " fails too often: left alone for " +
                                 std::to_string(length.ms()) + " ms");
  probe_after(length);
  return env_.loop.now() + length;
}

// A little later than they, for the first probe that fails tells the others.
void Node::isolate_until(Time until) {
  Duration length = until - env_.loop.now();
  if (length <= Duration{} || (isolation_.state() == Isolation::State::open && until <= alone_until_)) return;
  isolation_.follow(length);
  probe_after({env_.random.between(length.ns * 21 / 20, length.ns * 6 / 5)});
}

void Node::probe_after(Duration wait) {
  alone_until_ = env_.loop.now() + wait;
  isolation_timer_ = env_.loop.after(wait, [this] { probe(); });
  update_usable();
}

// What was known of it is old, and calls that hang there since then are none of its load.
void Node::probe() {
  isolation_timer_.reset();
  isolation_.try_again();
  era_++;
  inflight = 0;
  latency.forget();
  if (breaker_ != nullptr) breaker_->forget();
  update_usable();
}

void Node::restore() {
  probe();
  isolation_.close(env_.loop.now());
}

bool Node::is_working() const {
  return !links_.empty() && links_.oldest()->is_ready() && !retired_ && !endpoint.draining && !endpoint.unwell &&
         !is_isolated();
}

bool Node::is_unwell() const {
  const HealthWatch* health = links_.empty() ? nullptr : links_.oldest()->health();
  return endpoint.unwell || (health != nullptr && health->state() == HealthWatch::State::unwell);
}

const Status& Node::trouble() const {
  if (endpoint.unwell) return unwell_;
  return is_unwell() ? links_.oldest()->health()->trouble() : trouble_;
}

void Node::on_link_spoken(Link& link) {
  count_connect();
  backoff_ = limits::backoff_first;
  if (widening_ != nullptr) widening_->on_used();
  if (!links_.holds(link)) return;
  is_full_ = false;
  watch_oldest();
  if (links_.oldest()->is_ready()) welcome();
}

// One connection is enough to know.
void Node::watch_oldest() {
  Link& link = *links_.oldest();
  if (health_service_ && !retired_ && link.has_spoken() && link.health() == nullptr)
    link.ask_health(*health_service_, health_authority_);
}

void Node::on_link_room(Link&) {
  is_full_ = false;
  update_usable();
}

// Of one that was unwell, all clients hear at the same time that it is back.
void Node::on_link_health(Link& link) {
  if (&link != links_.oldest() || retired_) return;
  if (link.is_ready()) return welcome();
  if (is_unwell()) {
    is_newcomer_ = true;
    NEBULA_LOG(env_.log, info, "instance " + endpoint.id + ": " + std::string(trouble().message()));
  }
  update_usable();
}

void Node::on_link_draining(Link& link, Status why) {
  if (!links_.holds(link)) return;
  Duration& interval = session_.keepalive.interval;
  if (link.session().pinged_too_often()) interval = std::max(interval, link.ping_interval() * 2);
  link.end_health();
  links_.leave(link);
  if (retired_) return;
  if (!links_.empty()) return go_on_with_others();
  reconnect(std::move(why));
}

void Node::go_on_with_others() {
  widening_->on_lost();
  watch_oldest();
  update_usable();
}

void Node::on_link_closed(Link& link, Status why) {
  bool was_used = links_.holds(link), has_spoken = link.has_spoken();
  links_.drop(link);
  (has_spoken ? counts.disconnections : counts.connect_failures)++;
  if (retired_) return report_retired();
  if (!has_spoken && widening_ != nullptr) widening_->on_failed();
  if (!was_used) return;
  NEBULA_LOG(env_.log, debug, "instance " + endpoint.id + ": " + std::string(why.message()));
  if (!links_.empty())
    go_on_with_others();
  else if (has_spoken)
    reconnect(why.ok() ? unavailable("the connection to " + link.address() + " was closed") : why);
  else
    back_off(why.ok() ? unavailable("the connection ended before it was used") : why);
}

void Node::retire(Fn<void()> then) {
  retired_ = std::move(then);
  retry_timer_.reset();
  patience_timer_.reset();
  isolation_timer_.reset();
  usable = false;
  state_ = State::idle;  // a dial under way finds that it is not wanted
  widening_.reset();
  links_.drain();
  env_.loop.later([self = anchor_.ref()] {
    if (Node* node = self.get(); node != nullptr && node->retired_) node->report_retired();
  });
}

void Node::report_retired() {
  if (!links_.all_gone()) return;
  Fn<void()> then = std::move(retired_);
  then();
}

void Node::count_connect() {
  counts.connects++;
  counts.connect_time_last = env_.loop.now() - dialled_;
  counts.connect_time = counts.connect_time + counts.connect_time_last;
}

// It can take calls: after a time in which it could not, or for the first time.
void Node::welcome() {
  if (!endpoint.unwell && std::exchange(is_newcomer_, false)) newcomer_since = env_.loop.now();
  update_usable();
}

// In a later step: this may come from the depth of a session's event, and calls that go now write to sessions.
void Node::update_usable() {
  usable = !links_.empty() && links_.oldest()->is_ready() && !is_full_ && !retired_ && !endpoint.draining &&
           !endpoint.unwell && isolation_.admits();
  env_.loop.later([self = anchor_.ref()] {
    if (Node* node = self.get(); node != nullptr && !node->retired_) node->up_.on_node_changed();
  });
}

}  // namespace nebula
