// pictures/stage.cc - instances that take their time, a client like a clock, a window after the other.
#include "pictures/stage.h"

#include <algorithm>

namespace nebula::pictures {

uint64_t Window::arrived() const {
  uint64_t sum = 0;
  for (uint64_t count : calls) sum += count;
  return sum;
}

double Window::share(size_t member) const {
  return arrived() == 0 || member >= calls.size() ? 0
                                                  : 100 * static_cast<double>(calls[member]) / static_cast<double>(arrived());
}

Stage::~Stage() {
  channel_.reset();
  for (std::unique_ptr<Member>& member : members_) stop(*member);
  cluster_.settle();
}

// ---- the service

Member& Stage::add(Duration takes) {
  members_.push_back(std::make_unique<Member>());
  Member& member = *members_.back();
  member.takes = takes;
  member.instance = std::make_unique<kit::Instance>(cluster_, "hello", "n" + std::to_string(members_.size() - 1));
  member.instance->greet.answer_by(
      [this, &member](Request request, Reply reply) { answer(member, std::move(request), std::move(reply)); });
  return member;
}

void Stage::add(size_t count, Duration takes) {
  for (size_t i = 0; i < count; i++) announce(add(takes));
}

void Stage::announce(Member& member) {
  Endpoint self = member.instance->endpoint();
  self.weight = member.weight;
  self.zone = member.zone;
  cluster_.registry.announce("hello", std::move(self), [&member](Result<std::unique_ptr<Lease>> lease) {
    member.instance->lease = std::move(*lease);
  });
}

void Stage::leave(Member& member) { member.instance->lease.reset(); }

// Whoever holds a reply lets it go while its call still lives.
void Stage::stop(Member& member) {
  member.instance->server.reset();
  member.replies.clear();
}

void Stage::start(Member& member) {
  kit::SimWorld& world = cluster_.world;
  member.instance->server = std::make_unique<Server>(world.loop, world.network, world.log, member.instance->router);
  NEBULA_ASSERT(member.instance->server->listen(kit::url("mem:" + member.instance->id)).ok());
}

void Stage::answer(Member& member, Request request, Reply reply) {
  member.calls++;
  if (std::optional<std::string_view> key = request.metadata.find("x-user")) {
    Member*& home = homes_[std::string(*key)];
    if (home == nullptr) home = &member;
    window_now_.moved += home != &member;
  }
  Random& random = cluster_.world.random;
  bool fails = member.failing > 0 && random.chance(member.failing, 100);
  Duration about = fails && member.fails_after > Duration{} ? member.fails_after : member.takes;
  Duration takes = {random.between(about.ns * 4 / 5, about.ns * 6 / 5)};
  uint64_t number = member.next_reply++;
  member.replies[number] = cluster_.world.loop.after(takes, [&member, number, fails, reply = std::move(reply)]() mutable {
    auto done = member.replies.extract(number);
    if (fails) return reply(unavailable("broken"));
    reply(kit::with("hi"));
  });
}

// ---- the client

void Stage::send() {
  sent_.emplace_back();
  Sent& sent = sent_.back();
  sent.began = cluster_.world.loop.now();
  sent.call.is_idempotent = is_idempotent;
  if (keys > 0) sent.call.metadata.add("x-user", std::to_string(number_ % keys));
  number_++;
  window_now_.begun++;
  sent.call.then = [this, &sent] {
    window_now_.ended++;
    window_now_.failed += sent.call.end() != "OK";
    took_ms_.push_back(static_cast<double>((cluster_.world.loop.now() - sent.began).ns) / 1e6);
  };
  cluster_.start(*channel_, sent.call);
  sent_.remove_if([](const Sent& each) { return each.call.answers > 0; });
}

void Stage::at(double second, Fn<void()> deed) {
  deeds_.push_back(
      cluster_.world.loop.after(nanos(static_cast<int64_t>(second * 1e9)), [deed = std::move(deed)]() mutable { deed(); }));
}

const std::vector<Window>& Stage::run(double seconds) {
  SimLoop& loop = cluster_.world.loop;
  began_ = loop.now();
  channel_ = cluster_.channel_with(policy_);
  Time end = began_ + nanos(static_cast<int64_t>(seconds * 1e9)), window_end = began_ + window_;
  for (uint64_t tick = 1; loop.now() < end; tick++) {
    send();
    loop.run_until(began_ + nanos(static_cast<int64_t>(tick) * 1'000'000'000 / calls_a_second));
    if (loop.now() < window_end) continue;
    close_window();
    window_end = window_end + window_;
  }
  return windows_;
}

void Stage::close_window() {
  window_now_.end_s = static_cast<double>((cluster_.world.loop.now() - began_).ns) / 1e9;
  for (std::unique_ptr<Member>& member : members_) window_now_.calls.push_back(std::exchange(member->calls, 0));
  std::sort(took_ms_.begin(), took_ms_.end());
  if (!took_ms_.empty()) {
    window_now_.worst_ms = took_ms_.back();
    window_now_.p99_ms = took_ms_[std::min(took_ms_.size() - 1, took_ms_.size() * 99 / 100)];
  }
  window_now_.nodes = channel_->node_count();
  took_ms_.clear();
  windows_.push_back(std::exchange(window_now_, Window{}));
}

}  // namespace nebula::pictures
