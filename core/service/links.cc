// service/links.cc - which connection gets the next call, and which is not needed any more.
#include "service/links.h"

#include <algorithm>

#include "base/limits.h"

namespace nebula {

namespace {

using List = std::vector<std::unique_ptr<Link>>;

List::iterator find(List& list, const Link& link) {
  return std::find_if(list.begin(), list.end(), [&](const std::unique_ptr<Link>& each) { return each.get() == &link; });
}

}  // namespace

bool Links::holds(const Link& link) const {
  return std::any_of(open_.begin(), open_.end(), [&](const std::unique_ptr<Link>& each) { return each.get() == &link; });
}

// Where a peer refuses what it has allowed, that is all that it can do, and more connections do not help.
bool Links::want_more() const {
  auto is_full = [](const std::unique_ptr<Link>& link) { return link->refusal() == Code::resource_exhausted; };
  return open_.size() < limits::links_max && std::all_of(open_.begin(), open_.end(), is_full);
}

Time Links::idle_since() const {
  Time since;
  for (const List* list : {&open_, &leaving_})
    for (const std::unique_ptr<Link>& link : *list) since = std::max(since, link->idle_since());
  return since;
}

void Links::on_call_lost(Time began) {
  for (const std::unique_ptr<Link>& link : open_) link->on_call_lost(began);
}

Link* Links::pick_of_several() {
  NEBULA_ASSERT(!open_.empty());
  Link* best = nullptr;
  for (size_t at = 0; at < open_.size() && (at < used_ || best == nullptr); at++) {
    Link& link = *open_[at];
    if (!link.has_spoken() || link.refusal() != Code::ok) continue;
    if (best == nullptr || link.session().open_count() < best->session().open_count()) best = &link;
    used_ = std::max(used_, at + 1);
  }
  most_ = std::max(most_, call_count() + 1);
  return best;
}

Link* Links::pick_instead(Link& link, Code why) {
  link.refuse(why);
  if (why == Code::resource_exhausted) room_ = link.session().open_count();
  return only_ != nullptr ? nullptr : pick_of_several();
}

size_t Links::call_count() const {
  size_t count = 0;
  for (const std::unique_ptr<Link>& link : open_) count += link->session().open_count();
  return count;
}

void Links::add(std::unique_ptr<Link> link) {
  open_.push_back(std::move(link));
  only_ = open_.size() == 1 ? open_.front().get() : nullptr;
  used_ = open_.size();
  if (only_ == nullptr && timer_ == nullptr) look_later();
}

std::unique_ptr<Link> Links::take(Link& link) {
  auto found = find(open_, link);
  if (found == open_.end()) {
    found = find(leaving_, link);
    NEBULA_ASSERT(found != leaving_.end());
    std::unique_ptr<Link> taken = std::move(*found);
    leaving_.erase(found);
    return taken;
  }
  std::unique_ptr<Link> taken = std::move(*found);
  open_.erase(found);
  used_ = std::clamp<size_t>(used_, 1, std::max<size_t>(open_.size(), 1));
  only_ = open_.size() == 1 ? open_.front().get() : nullptr;
  if (open_.size() < 2) timer_.reset();
  return taken;
}

void Links::leave(Link& link) { leaving_.push_back(take(link)); }

// A session is not destroyed inside its own event.
void Links::drop(Link& link) {
  gone_.push_back(take(link));
  loop_.later([self = anchor_.ref()] {
    if (Links* links = self.get()) List gone = std::move(links->gone_);
  });
}

void Links::drain() {
  for (const std::unique_ptr<Link>& link : open_) {
    link->end_health();
    link->session().drain();
  }
}

void Links::cut() {
  timer_.reset();
  only_ = nullptr;
  List open = std::move(open_), leaving = std::move(leaving_), gone = std::move(gone_);
}

void Links::look_later() {
  most_ = call_count();
  timer_ = loop_.after(limits::links_look_interval, [this] { look(); });
}

void Links::look() {
  size_t needed = most_ / room_ + (most_ % room_ > 0);
  used_ = std::clamp<size_t>(needed, 1, used_);
  Time before = Time{loop_.now().ns - limits::links_look_interval.ns};
  look_later();
  for (size_t at = open_.size(); at-- > used_;) {
    Link& link = *open_[at];
    if (link.idle_since() > before) continue;
    link.session().drain();
    leave(link);
  }
}

}  // namespace nebula
