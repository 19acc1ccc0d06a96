// service/commons.cc - boxes, and posts that empty them.
#include "service/commons.h"

#include <atomic>
#include <utility>

#include "loop/fork.h"

namespace nebula {

// Where the news for one seat gather. It outlives the seat in posts that are still on their way.
struct Seat::Box {
  Box(Commons& commons, Loop& loop, Fn<void(const News&)> told) : commons(&commons), loop(loop), told(std::move(told)) {}

  void empty() {
    if (commons == nullptr) return;
    News news;
    {
      std::lock_guard<std::mutex> hold(commons->lock_);
      news = std::exchange(waiting, {});
      is_posted = false;
    }
    told(news);
  }

  Commons* commons;  // touched on the loop; null: the seat has gone
  Loop& loop;
  Fn<void(const News&)> told;
  News waiting;            // under the lock, as is
  bool is_posted = false;
  std::atomic<bool> has_others{false};  // written under it
};

Seat::Seat(Commons& commons, Loop& loop, std::string name, Fn<void(const News&)> told)
    : commons_(commons),
      name_(std::move(name)),
      fork_generation_(fork_generation()),
      box_(std::make_shared<Box>(commons, loop, std::move(told))) {
  std::lock_guard<std::mutex> hold(commons_.lock_);
  auto& boxes = commons_.tables_[name_];
  boxes.push_back(box_);
  for (const std::shared_ptr<Box>& box : boxes) box->has_others = boxes.size() > 1;
}

Seat::~Seat() {
  box_->commons = nullptr;
  if (fork_generation() != fork_generation_) return;  // the lock may be held by a thread that did not come along
  std::lock_guard<std::mutex> hold(commons_.lock_);
  auto table = commons_.tables_.find(name_);
  std::erase(table->second, box_);
  if (table->second.size() == 1) table->second.front()->has_others = false;
  if (table->second.empty()) commons_.tables_.erase(table);
}

bool Seat::has_others() const { return box_->has_others.load(std::memory_order_relaxed); }

void Seat::tell(const News& news) {
  Time now = box_->loop.now();
  std::lock_guard<std::mutex> hold(commons_.lock_);
  for (const std::shared_ptr<Box>& box : commons_.tables_.find(name_)->second) {
    if (box == box_) continue;
    box->waiting.allowance += news.allowance;
    std::erase_if(box->waiting.isolated, [now](const auto& each) { return each.second.until <= now; });
    for (const auto& [id, isolated] : news.isolated) box->waiting.isolated.insert_or_assign(id, isolated);
    // Its loop lives: before it goes so does the seat, which needs the lock for that.
    if (!std::exchange(box->is_posted, true)) box->loop.post([box] { box->empty(); });
  }
}

}  // namespace nebula
