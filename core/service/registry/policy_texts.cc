// service/registry/policy_texts.cc - compare, then tell, as watchers.cc does.
#include "service/registry/policy_texts.h"

#include <utility>
#include <vector>

namespace nebula {

class PolicyTexts::Watching final : public Watch {
 public:
  Watching(Anchor<PolicyTexts>::Ref texts, uint64_t id) : texts_(std::move(texts)), id_(id) {}
  ~Watching() override {
    if (PolicyTexts* texts = texts_.get()) texts->watchers_.erase(id_);
  }

 private:
  Anchor<PolicyTexts>::Ref texts_;
  uint64_t id_;
};

std::unique_ptr<Watch> PolicyTexts::watch(std::string_view name, Registry::OnPolicy on_policy) {
  uint64_t id = ++ids_given_;
  watchers_.emplace(id, Watcher{std::string(name), std::move(on_policy)});
  return std::make_unique<Watching>(anchor_.ref(), id);
}

void PolicyTexts::put(std::string_view name, std::string text) {
  auto [at, is_new] = texts_.try_emplace(std::string(name));
  at->second.reading = reading_;
  if (!is_new && at->second.text == text) return;
  at->second.text = std::move(text);
  have_changed_ = true;
}

void PolicyTexts::remove(std::string_view name) {
  auto at = texts_.find(name);
  if (at == texts_.end()) return;
  texts_.erase(at);
  have_changed_ = true;
}

void PolicyTexts::forget_vanished() {
  have_changed_ |= std::erase_if(texts_, [this](const auto& each) { return each.second.reading != reading_; }) > 0;
}

void PolicyTexts::tell(bool is_fresh) {
  have_changed_ = false;
  std::vector<uint64_t> ids;
  for (const auto& [id, watcher] : watchers_) ids.push_back(id);
  Anchor<PolicyTexts>::Ref self = anchor_.ref();
  for (uint64_t id : ids) {
    auto at = watchers_.find(id);
    if (at == watchers_.end()) continue;
    Watcher& watcher = at->second;
    auto found = texts_.find(watcher.name);
    std::optional<std::string> text;
    if (found != texts_.end()) text = found->second.text;
    if (watcher.is_told ? watcher.told == text : !is_fresh) continue;
    watcher.is_told = true;
    watcher.told = text;
    // Taken out while it runs: it may end its own watch.
    Registry::OnPolicy on_policy = std::move(watcher.on_policy);
    on_policy(std::move(text));
    if (self.get() == nullptr) return;
    if (at = watchers_.find(id); at != watchers_.end()) at->second.on_policy = std::move(on_policy);
  }
}

}  // namespace nebula
