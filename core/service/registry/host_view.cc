// service/registry/host_view.cc - events in, listings out.
#include "service/registry/host_view.h"

#include <algorithm>

#include "base/limits.h"

namespace nebula {

namespace {

// The kernel tells of a closed file before it frees the lock, so a lock still held is looked at again.
constexpr Duration recheck_waits[] = {ms(1), ms(5), ms(25)};
// Watchers that tidy at the same time refuse each other; and a dying process frees its locks one after the other, over
// 60 ms for each GB of its heap. What is left after the last try, the next program that starts sweeps.
constexpr size_t tidy_tries_max = 5;
constexpr Duration tidy_wait_first = ms(5);
constexpr int64_t tidy_wait_factor = 4;
// A directory that somebody else replaces again and again is trouble.
constexpr int ready_tries_max = 3;

}  // namespace

HostView::HostView(HostPlace place, Loop& loop, Log& log, Random& random, PolicyTexts& policies, Listener& listener)
    : place_(std::move(place)), loop_(loop), log_(log), random_(random), policies_(policies), listener_(listener) {}

HostView::~HostView() = default;

// --- the directory ---

Status HostView::ready() {
  for (int tries = 0; tries < ready_tries_max; tries++) {
    if (directory_ == nullptr || !directory_->is_current()) {
      watch_.reset();
      directory_.reset();
      Result<std::unique_ptr<Directory>> prepared = Directory::prepare(place_.root, place_.below);
      if (!prepared.ok()) return trouble_with(prepared.status());
      directory_ = std::move(*prepared);
    }
    // A watch that polls is tried anew: inotify may have become free.
    DirectoryWatch::Owner& owner = *this;
    if (watch_ == nullptr || watch_->is_polling()) {
      watch_ = std::make_unique<DirectoryWatch>(loop_, directory_->path(), owner);
      has_looked_ = false;
    }
    if (watch_->is_polling() && !std::exchange(has_told_of_polling_, true))
      NEBULA_LOG(log_, warn,
                 "host registry: inotify is used up, so " + directory_->path() +
                     " is only looked at now and then; raise fs.inotify.max_user_instances");
    // The path was followed twice; both times it must have led to the same place.
    if (!directory_->is_current()) continue;
    changes_.all |= !trouble_.ok();
    trouble_ = {};
    trouble_timer_.reset();
    return {};
  }
  return trouble_with(unavailable(place_.path() + " is replaced again and again"));
}

Status HostView::trouble_with(const Status& why) {
  watch_.reset();
  directory_.reset();
  changes_.all = true;
  trouble_ = Status(why.code(), "host registry: " + std::string(why.message()) + host_place_advice);
  // Nothing tells when it can be used again: a log-out takes the runtime directory away, a log-in brings it back.
  trouble_timer_ = loop_.after(limits::registry_poll_interval, [this] { look(); });
  return trouble_;
}

void HostView::look() {
  if (!ready().ok()) return listener_.on_view(true);
  Result<std::vector<std::string>> names = directory_->names();
  if (names.ok()) {
    scan(*names);
    has_looked_ = true;
  } else {
    static_cast<void>(trouble_with(names.status()));
  }
  settle(true);
}

void HostView::catch_up() {
  if (watch_ == nullptr || watch_->is_polling() || !has_looked_ || !directory_->is_current()) return look();
  hear(watch_->take_events(), true);
}

void HostView::scan(const std::vector<std::string>& names) {
  std::set<std::string> present(names.begin(), names.end());
  std::vector<std::string> absent;
  for (const auto& [name, record] : records_)
    if (!present.contains(name)) absent.push_back(name);
  for (const std::string& name : absent) forget(name);
  for (const std::string& name : own_) own_missing_ |= !present.contains(name);
  std::erase_if(complained_, [&present](const std::string& name) { return !present.contains(name); });
  policies_.begin_reading();
  for (const std::string& name : present)
    if (check(name) == Life::unknown) check_again(name);
  policies_.forget_vanished();
  if (!std::exchange(has_swept_, true)) sweep(names);
}

// What processes left that died before they had announced anything.
void HostView::sweep(const std::vector<std::string>& names) {
  std::set<std::string> used;
  for (const auto& [name, record] : records_)
    for (std::string& socket : sockets_of(record)) used.insert(std::move(socket));
  for (const std::string& name : names) {
    if (name.starts_with('.') && name.ends_with(".tmp")) directory_->tidy(name);
    if (name.ends_with(socket_suffix) && !used.contains(name)) directory_->tidy_socket(name);
  }
}

// --- what happened ---

void HostView::hear(std::vector<DirectoryEvent> events, bool is_fresh) {
  bool must_look = false, is_removed = false;
  for (const DirectoryEvent& event : events) {
    switch (event.kind) {
      case DirectoryEvent::placed:
        if (check(event.name) == Life::unknown) check_again(event.name);
        break;
      case DirectoryEvent::removed:
        is_removed = true;
        own_missing_ |= own_.contains(event.name);
        forget(event.name);
        break;
      case DirectoryEvent::closed:
        rechecks_.erase(event.name);
        // Its owner is dead: whoever withdraws removes the record before he closes it. Another watcher may have tidied.
        if (auto listed = records_.find(event.name); listed != records_.end() && directory_->probe(event.name) == Life::gone)
          unlist(listed);
        if (Life life = check(event.name); life == Life::alive || life == Life::unknown) check_again(event.name);
        break;
      case DirectoryEvent::ended: watch_.reset(); [[fallthrough]];
      case DirectoryEvent::missed: must_look = true; break;
    }
  }
  // The events of a directory that is removed may end here: its own comes when its last file is closed.
  if (must_look || (is_removed && !directory_->is_current())) return look();
  settle(is_fresh);
}

void HostView::settle(bool is_fresh) {
  alive_.clear();
  if (!graves_.empty()) tidy_soon();
  if (changes_.any() || policies_.have_changed() || own_missing_ || is_fresh) listener_.on_view(is_fresh);
}

Life HostView::check(const std::string& name) {
  if (name.ends_with(record_suffix)) return check_record(name);
  if (name.ends_with(alive_suffix)) return check_alive(name);
  if (name.ends_with(policy_suffix)) check_policy(name);
  return Life::gone;
}

// Nobody holds it: it stays until somebody removes it.
void HostView::check_policy(const std::string& name) {
  std::string text;
  Life life = directory_->read(name, true, limits::policy_bytes_max, &text);
  if (life == Life::alive) policies_.put(name.substr(0, name.size() - policy_suffix.size()), std::move(text));
}

Life HostView::check_record(const std::string& name) {
  bool is_own = own_.contains(name);
  std::string text;
  Life life = directory_->read(name, is_own, limits::record_bytes_max, &text);
  if (life == Life::unknown) return life;
  if (life == Life::gone) {
    forget(name);
    return life;
  }
  Result<Record> record =
      text.size() > limits::record_bytes_max ? invalid_argument("it is too large") : Record::parse(text);
  if (record.ok() && record->file_name() != name) record = invalid_argument("it belongs to " + record->file_name());
  if (!record.ok()) {
    if (life == Life::dead) {
      bury(name, Record());
    } else {
      forget(name);
      complain(name, record.status().message());
    }
    return life;
  }
  // Either lock free means dead. A process without a keeper has no alive file.
  if (life == Life::alive && !is_own && !record->alive.empty() && check_alive(record->alive) == Life::dead)
    life = Life::dead;
  if (life == Life::dead) {
    bury(name, *record);
    return life;
  }
  Record& listed = records_[name];
  if (listed.service.empty() || listed.endpoint != record->endpoint) changes_.services.insert(record->service);
  listed = std::move(*record);
  return life;
}

Life HostView::check_alive(const std::string& name) {
  if (own_.contains(name)) return Life::alive;
  auto [known, is_new] = alive_.try_emplace(name, Life::unknown);
  if (is_new) known->second = directory_->probe(name);
  if (known->second == Life::dead) bury_all(name);
  return known->second;
}

void HostView::check_again(const std::string& name) {
  if (own_.contains(name) || !(name.ends_with(record_suffix) || name.ends_with(alive_suffix))) return;
  Recheck& next = rechecks_[name];
  if (next.tries >= std::size(recheck_waits)) {
    rechecks_.erase(name);  // so it lives
  } else {
    next.timer = loop_.after(recheck_waits[next.tries++], [this, name] { recheck(name); });
  }
}

void HostView::recheck(std::string name) {
  if (directory_ == nullptr) return;
  if (Life life = check(name); life == Life::alive || life == Life::unknown) {
    check_again(name);
  } else {
    rechecks_.erase(name);
  }
  settle(false);
}

void HostView::forget(const std::string& name) {
  if (name.ends_with(policy_suffix)) policies_.remove(name.substr(0, name.size() - policy_suffix.size()));
  if (auto listed = records_.find(name); listed != records_.end()) {
    changes_.services.insert(listed->second.service);
    records_.erase(listed);
  }
  complained_.erase(name);
}

void HostView::complain(const std::string& name, std::string_view why) {
  if (complained_.insert(name).second)
    NEBULA_LOG(log_, warn, "host registry: " + directory_->path() + "/" + name + " is no record: " + std::string(why));
}

// --- the dead ---

void HostView::bury(const std::string& name, const Record& record) {
  Grave& grave = graves_[record.alive.empty() ? name : record.alive];
  grave.alive = record.alive;
  grave.records[name] = sockets_of(record);
  if (auto listed = records_.find(name); listed != records_.end()) unlist(listed);
  complained_.erase(name);
  if (!record.alive.empty()) bury_all(record.alive);
}

// All records of one process go in one step, so that its services vanish together.
void HostView::bury_all(const std::string& alive) {
  Grave& grave = graves_[alive];
  grave.alive = alive;
  for (auto at = records_.begin(); at != records_.end();) {
    auto each = at++;
    if (each->second.alive != alive) continue;
    grave.records[each->first] = sockets_of(each->second);
    unlist(each);
  }
}

void HostView::unlist(std::map<std::string, Record>::iterator dead) {
  died_.add(dead->second.endpoint.id);
  changes_.services.insert(dead->second.service);
  records_.erase(dead);
}

// Not before everybody here knows of the death: removing files is slower than telling.
void HostView::tidy_soon() {
  if (tidy_timer_ != nullptr || std::exchange(will_tidy_, true)) return;
  loop_.later([self = anchor_.ref()] {
    if (self.get() == nullptr) return;
    self.get()->will_tidy_ = false;
    self.get()->tidy();
  });
}

void HostView::tidy() {
  tidy_timer_.reset();
  if (directory_ == nullptr) return graves_.clear();
  size_t tries = 0;
  for (auto at = graves_.begin(); at != graves_.end();) {
    Grave& grave = at->second;
    std::erase_if(grave.records, [this](const auto& record) { return directory_->tidy(record.first, record.second); });
    bool is_tidy = grave.records.empty() && (grave.alive.empty() || directory_->tidy(grave.alive));
    if (is_tidy || ++grave.tries >= tidy_tries_max) {
      at = graves_.erase(at);
    } else {
      tries = std::max(tries, grave.tries);
      ++at;
    }
  }
  if (graves_.empty()) return;
  Duration wait = tidy_wait_first;
  for (size_t i = 1; i < tries; i++) wait = wait * tidy_wait_factor;
  // A random share, so that watchers that met once do not meet again.
  wait = wait + nanos(static_cast<int64_t>(random_.below(static_cast<uint64_t>(wait.ns))));
  tidy_timer_ = loop_.after(wait, [this] { tidy(); });
}

std::vector<std::string> HostView::sockets_of(const Record& record) const {
  std::vector<std::string> sockets;
  std::string prefix = directory_->path() + "/";
  for (const Url& url : record.endpoint.urls) {
    if (url.scheme != "unix" || !url.path.starts_with(prefix) || !url.path.ends_with(socket_suffix)) continue;
    std::string name = url.path.substr(prefix.size());
    if (name.find('/') == std::string::npos) sockets.push_back(std::move(name));
  }
  return sockets;
}

// --- questions ---

EndpointList HostView::endpoints(std::string_view service) const {
  // "shop.7f.record" and "shop.Cart.80.record" begin alike, so the record is asked too.
  std::string prefix(service);
  prefix.push_back('.');
  EndpointList endpoints;
  for (auto at = records_.lower_bound(prefix); at != records_.end() && at->first.starts_with(prefix); ++at)
    if (at->second.service == service) endpoints.push_back(at->second.endpoint);
  return endpoints;
}

std::vector<std::string> HostView::services() const {
  std::set<std::string> services;
  for (const auto& [name, record] : records_) services.insert(record.service);
  return {services.begin(), services.end()};
}

}  // namespace nebula
