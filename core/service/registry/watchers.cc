// service/registry/watchers.cc - compare, then tell; nothing of this object is touched unguarded after the first word.
#include "service/registry/watchers.h"

#include <algorithm>

#include "base/similar.h"

namespace nebula {

bool is_same(const Snapshot& a, const Snapshot& b) {
  return *a.endpoints == *b.endpoints && a.similar == b.similar && a.trouble.code() == b.trouble.code() &&
         a.trouble.message() == b.trouble.message() && a.is_whole == b.is_whole;
}

class Watchers::Watching final : public Watch {
 public:
  Watching(Anchor<Watchers>::Ref watchers, uint64_t id) : watchers_(std::move(watchers)), id_(id) {}
  ~Watching() override {
    Watchers* watchers = watchers_.get();
    if (watchers == nullptr) return;
    watchers->watchers_.remove(id_);
    std::erase(watchers->ids_, id_);
  }

 private:
  Anchor<Watchers>::Ref watchers_;
  uint64_t id_;
};

std::unique_ptr<Watch> Watchers::add(std::string_view service, Fn<void(Snapshot)> on_change) {
  uint64_t id = watchers_.add(std::make_unique<Watcher>(Watcher{std::string(service), std::move(on_change), {}}));
  NEBULA_ASSERT(id != 0);
  ids_.push_back(id);
  return std::make_unique<Watching>(anchor_.ref(), id);
}

void Watchers::tell(Source& source, bool is_fresh, const Changes& changes) {
  std::vector<std::pair<uint64_t, Snapshot>> news;
  for (uint64_t id : ids_) {
    Watcher& watcher = **watchers_.find(id);
    if (watcher.told ? !changes.concern(watcher.service) : !is_fresh) continue;
    Snapshot snapshot = source.snapshot(watcher.service);
    if (watcher.told && is_same(*watcher.told, snapshot)) continue;
    watcher.told = snapshot;
    news.emplace_back(id, std::move(snapshot));
  }
  Anchor<Watchers>::Ref self = anchor_.ref();
  for (auto& [id, snapshot] : news) {
    std::unique_ptr<Watcher>* watcher = self.get() == nullptr ? nullptr : watchers_.find(id);
    if (watcher == nullptr) continue;
    // Taken out while it runs: it may end its own watch.
    Fn<void(Snapshot)> on_change = std::move((*watcher)->on_change);
    on_change(std::move(snapshot));
    watcher = self.get() == nullptr ? nullptr : watchers_.find(id);
    if (watcher != nullptr) (*watcher)->on_change = std::move(on_change);
  }
}

void DiedList::add(const std::string& id) {
  if (ids_.size() == count_max) ids_.erase(ids_.begin());
  ids_.push_back(id);
}

Snapshot make_snapshot(EndpointList endpoints, std::string_view service, const std::vector<std::string>& names) {
  Snapshot snapshot;
  if (endpoints.empty()) snapshot.similar = similar_names(service, names);
  snapshot.endpoints = std::make_shared<const EndpointList>(std::move(endpoints));
  return snapshot;
}

}  // namespace nebula
