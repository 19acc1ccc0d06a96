// service/registry/etcd_announcer.cc - grant, put, renew, and begin again after a failure.
#include "service/registry/etcd_announcer.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "base/random.h"

namespace nebula {

namespace {

// An etcd that is asked for more than 5,000 changes at a time refuses them all, and may hear from a hundred programs.
constexpr size_t under_way_max = 32;

}  // namespace

EtcdAnnouncer::EtcdAnnouncer(const EtcdPlace& place, const Env& env) : place_(place), env_(env) {}

EtcdAnnouncer::~EtcdAnnouncer() { leave(); }

// In a later step: this may be its own answer.
void EtcdAnnouncer::leave() {
  renewals_.reset();
  env_.loop.later([gone = std::move(api_)] {});
}

void EtcdAnnouncer::add(std::string key, std::string value, Done<bool> done) {
  auto [at, is_new] = announced_.try_emplace(key);
  if (!is_new) return done(already_exists("\"" + key + "\" is announced already"));
  at->second.value = std::move(value);
  at->second.done = std::move(done);
  if (holds_ && withdrawn_.contains(key)) return;  // first it has to be gone: etcd may turn the two round
  if (holds_) return send(std::move(key));
  if (api_ != nullptr) return;  // on the way
  retry_timer_.reset();         // whoever announces wants to know now
  begin();
}

void EtcdAnnouncer::change(const std::string& key, std::string value, Done<bool> done) {
  auto at = announced_.find(key);
  if (at == announced_.end()) return done(failed_precondition("\"" + key + "\" is not announced any more"));
  at->second.value = std::move(value);
  if (api_ == nullptr) return done(unreachable("it will be told when it can be"));
  at->second.changed = std::move(done);
  at->second.is_another = true;  // two at a time etcd may turn round
  if (holds_ && !at->second.is_on_the_way) send(key);
}

void EtcdAnnouncer::remove(const std::string& key) {
  if (announced_.erase(key) == 0) return;
  withdrawn_.insert(key);
  if (holds_) send(key);
}

// ---- the lease

void EtcdAnnouncer::begin() {
  retry_timer_.reset();
  attempt_++;
  Result<std::unique_ptr<EtcdApi>> api = EtcdApi::open(env_, place_);
  if (!api.ok()) return fail(api.status());
  api_ = std::move(*api);
  if (lease_ != 0) {
    renewals_ = api_->keep_alive(*this);
    return renew();
  }
  api_->grant(place_.lease, [self = anchor_.ref(), attempt = attempt_](Result<int64_t>&& lease) {
    EtcdAnnouncer* announcer = self.get();
    if (announcer == nullptr || announcer->attempt_ != attempt) return;
    if (!lease.ok()) return announcer->fail(lease.status());
    announcer->renewals_ = announcer->api_->keep_alive(*announcer);
    announcer->lease_ = *lease;
    announcer->renew();
    announcer->hold();
  });
}

void EtcdAnnouncer::renew() {
  renewals_->send(EtcdApi::keep_alive_request(lease_));
  Duration third = {place_.lease.ns / 3};
  Duration wait = {third.ns + env_.random.between(-third.ns / 10, third.ns / 10)};
  renew_timer_ = env_.loop.after(wait, [this] { renew(); });
}

// From now on it is ours: all that is announced goes there, all that was withdrawn meanwhile goes away.
void EtcdAnnouncer::hold() {
  holds_ = true;
  backoff_ = limits::etcd_backoff_first;
  for (const auto& [key, announced] : announced_) {
    to_send_.push_back(key);
    withdrawn_.erase(key);
  }
  to_send_.insert(to_send_.end(), withdrawn_.begin(), withdrawn_.end());
  send_next();
}

void EtcdAnnouncer::on_message(Bytes message) {
  Result<Duration> life = EtcdApi::life_of(message);
  if (!life.ok()) return fail(life.status());
  if (*life > Duration{}) {
    if (!holds_) hold();
    return;
  }
  lease_ = 0;
  fail(unavailable("the lease has ended"));
}

// ---- keys

void EtcdAnnouncer::send(std::string key) {
  to_send_.push_back(std::move(key));
  send_next();
}

void EtcdAnnouncer::send_next() {
  while (holds_ && under_way_ < under_way_max && !to_send_.empty()) {
    std::string key = std::move(to_send_.front());
    to_send_.pop_front();
    under_way_++;
    if (announced_.contains(key)) {
      withdrawn_.erase(key);  // and announced again before etcd was told
      put(key);
    } else {
      take_away(key);
    }
  }
}

void EtcdAnnouncer::on_sent() {
  under_way_--;
  send_next();
}

void EtcdAnnouncer::put(const std::string& key) {
  Announced& announced = announced_[key];
  announced.is_on_the_way = true;
  announced.is_another = false;
  api_->put(key, announced.value, lease_, [self = anchor_.ref(), attempt = attempt_, key](Result<bool>&& result) {
    EtcdAnnouncer* announcer = self.get();
    if (announcer == nullptr || announcer->attempt_ != attempt) return;
    auto found = announcer->announced_.find(key);
    if (found == announcer->announced_.end()) {  // withdrawn on the way
      announcer->to_send_.push_back(key);
      return announcer->on_sent();
    }
    if (!result.ok()) {
      if (result.status().code() == Code::not_found) announcer->lease_ = 0;
      return announcer->fail(result.status());
    }
    found->second.is_on_the_way = false;
    if (found->second.is_another) {
      announcer->to_send_.push_back(key);
      return announcer->on_sent();
    }
    Done<bool> done = std::exchange(found->second.done, {}), changed = std::exchange(found->second.changed, {});
    announcer->on_sent();
    if (done) done(true);
    if (changed) changed(true);
  });
}

void EtcdAnnouncer::take_away(const std::string& key) {
  api_->remove(key, [self = anchor_.ref(), attempt = attempt_, key](Result<bool>&& result) {
    EtcdAnnouncer* announcer = self.get();
    if (announcer == nullptr || announcer->attempt_ != attempt) return;
    if (!result.ok()) return announcer->fail(result.status());
    announcer->withdrawn_.erase(key);
    if (announcer->announced_.contains(key)) announcer->to_send_.push_back(key);
    announcer->on_sent();
  });
}

// ---- failure

void EtcdAnnouncer::fail(Status why) {
  attempt_++;
  holds_ = false;
  to_send_.clear();
  under_way_ = 0;
  leave();
  renew_timer_.reset();
  NEBULA_LOG(env_.log, warn, "the registry at " + place_.addresses.front() + ": " + std::string(why.message()));
  std::vector<Done<bool>> unanswered;
  for (auto& [key, announced] : announced_) {
    announced.is_on_the_way = false;
    if (announced.changed) unanswered.push_back(std::exchange(announced.changed, {}));
  }
  for (auto each = announced_.begin(); each != announced_.end();) {
    bool is_answered = !each->second.done;
    if (!is_answered) unanswered.push_back(std::move(each->second.done));
    each = is_answered ? std::next(each) : announced_.erase(each);
  }
  if (!announced_.empty() || !withdrawn_.empty()) {
    Duration half = {backoff_.ns / 2};
    backoff_ = std::min(backoff_ * 2, limits::etcd_backoff_max);
    retry_timer_ = env_.loop.after(half + Duration{env_.random.between(0, half.ns)}, [this] { begin(); });
  }
  for (Done<bool>& done : unanswered) done(unreachable(why.message()));
}

Status EtcdAnnouncer::unreachable(std::string_view why) const {
  return unavailable("the registry at " + place_.addresses.front() + " cannot be reached: " + std::string(why));
}

}  // namespace nebula
