// service/registry/etcd_view.cc - read, watch, and begin again after a failure.
#include "service/registry/etcd_view.h"

#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "service/registry/record.h"

namespace nebula {

namespace {

constexpr std::string_view policy_prefix = ".policy/";  // no name of a service begins with a dot

}  // namespace

EtcdView::EtcdView(const EtcdPlace& place, const Env& env, PolicyTexts& policies, Fn<void()> on_change)
    : place_(place), env_(env), policies_(policies), on_change_(std::move(on_change)) {}

EtcdView::~EtcdView() { leave(); }

// In a later step: this may be its own answer.
void EtcdView::leave() {
  watch_.reset();
  env_.loop.later([gone = std::move(api_)] {});
}

void EtcdView::start() {
  if (api_ == nullptr && retry_timer_ == nullptr) begin_reading();
}

EndpointList EtcdView::endpoints(std::string_view service) const {
  EndpointList list;
  auto found = instances_.find(service);
  if (found == instances_.end()) return list;
  for (const auto& [id, known] : found->second) list.push_back(known.endpoint);
  return list;
}

std::vector<std::string> EtcdView::services() const {
  std::vector<std::string> names;
  for (const auto& [service, instances] : instances_) names.push_back(service);
  return names;
}

// ---- reading

// With a connection of its own: the node of an earlier one may be waiting for minutes before it is dialled again.
void EtcdView::begin_reading() {
  retry_timer_.reset();
  reading_++;
  policies_.begin_reading();
  Result<std::unique_ptr<EtcdApi>> api = EtcdApi::open(env_, place_);
  if (!api.ok()) return fail(api.status());
  api_ = std::move(*api);
  read(place_.directory, 0);
}

void EtcdView::read(std::string from, int64_t revision) {
  api_->range(from, place_.end(), revision,
              [self = anchor_.ref(), reading = reading_](Result<EtcdApi::Page>&& page) {
                EtcdView* view = self.get();
                if (view == nullptr || view->reading_ != reading) return;
                if (!page.ok()) return view->fail(page.status());
                view->on_page(std::move(*page));
              });
}

void EtcdView::on_page(EtcdApi::Page page) {
  for (const EtcdApi::Pair& pair : page.pairs) put(pair.key, pair.value);
  // The key after the last one; all pages are of one moment.
  if (page.has_more && !page.pairs.empty()) return read(page.pairs.back().key + '\0', page.revision);
  watch_ = api_->watch(place_.directory, place_.end(), page.revision + 1, *this);
  grace_timer_ = env_.loop.after(place_.lease, [this] {
    grace_timer_.reset();
    forget_vanished();
    on_change_();
  });
  has_looked_ = true;
  trouble_ = {};
  changes_.all = true;
  on_change_();
}

void EtcdView::forget_vanished() {
  policies_.forget_vanished();
  changes_.all = true;
  for (auto service = instances_.begin(); service != instances_.end();) {
    std::erase_if(service->second, [this](const auto& known) { return known.second.reading != reading_; });
    service = service->second.empty() ? instances_.erase(service) : std::next(service);
  }
}

// ---- changes

void EtcdView::on_message(Bytes message) {
  Result<EtcdApi::Changes> changes = EtcdApi::changes_of(message);
  if (!changes.ok()) return fail(changes.status());
  if (changes->ended) return fail(std::move(*changes->ended));
  backoff_ = limits::etcd_backoff_first;
  for (const EtcdApi::Change& change : changes->changes)
    change.value ? put(change.key, *change.value) : remove(change.key);
  if (!changes->changes.empty()) on_change_();
}

void EtcdView::put(std::string_view key, std::string_view value) {
  std::string_view within = key.substr(std::min(key.size(), place_.directory.size()));
  if (within.starts_with(policy_prefix))
    return policies_.put(within.substr(policy_prefix.size()), std::string(value));
  Result<Record> record = Record::parse(value);
  if (!record.ok() || place_.directory + record->service + "/" + record->endpoint.id != key) {
    NEBULA_LOG(env_.log, info, "etcd: " + std::string(key) + " is no record of an instance");
    return;
  }
  changes_.services.insert(record->service);
  Known& known = instances_[record->service][record->endpoint.id];
  known = {std::move(record->endpoint), reading_};
}

void EtcdView::remove(std::string_view key) {
  key.remove_prefix(std::min(key.size(), place_.directory.size()));
  if (key.starts_with(policy_prefix)) return policies_.remove(key.substr(policy_prefix.size()));
  size_t slash = key.find('/');
  auto service = instances_.find(key.substr(0, slash));
  if (slash == std::string_view::npos || service == instances_.end()) return;
  changes_.services.insert(service->first);
  service->second.erase(std::string(key.substr(slash + 1)));
  if (service->second.empty()) instances_.erase(service);
}

// ---- failure

void EtcdView::fail(Status why) {
  reading_++;
  has_looked_ = true;
  leave();
  grace_timer_.reset();
  Duration half = {backoff_.ns / 2};
  Duration pause = half + Duration{env_.random.between(0, half.ns)};
  backoff_ = std::min(backoff_ * 2, limits::etcd_backoff_max);
  retry_timer_ = env_.loop.after(pause, [this] { begin_reading(); });
  trouble_ = unavailable("the registry at " + place_.addresses.front() + " cannot be asked: " + std::string(why.message()));
  changes_.all = true;
  NEBULA_LOG(env_.log, warn, std::string(trouble_.message()) + "; what was known stays in use");
  on_change_();
}

}  // namespace nebula
