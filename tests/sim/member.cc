// sim/member.cc - comes, answers, reports, goes.
#include "sim/member.h"

#include <utility>

namespace nebula::sim {

namespace {

constexpr Duration grace = sec(10);
constexpr Duration hearing_max = ms(200);
constexpr double qps = 100;  // that all report; what differs is how busy they are with them

std::string number(int field, double value) {
  std::string text(1, static_cast<char>(field << 3 | 1));
  return text.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// An xds.data.orca.v3.OrcaLoadReport.
std::string load_report(double utilization) { return number(6, qps) + number(9, utilization); }

}  // namespace

// Tells when everybody knows of the mark. Of a killed process nobody withdraws anything.
class Member::MarkedLease final : public Lease {
 public:
  MarkedLease(Anchor<Member>::Ref member, Site& site, std::unique_ptr<Lease> lease)
      : member_(std::move(member)), site_(site), lease_(std::move(lease)) {}
  ~MarkedLease() override {
    if (Member* member = member_.get(); member == nullptr || !member->killed_.is_never())
      site_.left_behind.push_back(std::move(lease_));
  }
  void mark(Mark mark, Done<bool> done) override {
    lease_->mark(mark, [member = member_, mark, done = std::move(done)](Result<bool> marked) mutable {
      if (member.get() != nullptr && marked.ok() && mark == Mark::draining) member.get()->marked_ = member.get()->world_.loop.now();
      done(std::move(marked));
    });
  }

 private:
  Anchor<Member>::Ref member_;
  Site& site_;
  std::unique_ptr<Lease> lease_;
};

// Its registry: as `describe_self` does for a program, this says what kind of instance it is.
class Member::Record final : public Registry {
 public:
  explicit Record(Member& member) : member_(member), registry_(member.site_.registry(member.kind_.is_near)) {}

  std::unique_ptr<Watch> watch(std::string_view, Fn<void(Snapshot)>) override { return nullptr; }
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override {
    self.started = 0;  // by the clock of the host
    self.group = member_.kind_.group;
    member_.id_ = self.id;
    registry_->announce(service, std::move(self), [member = member_.anchor_.ref(), site = &member_.site_,
                                                   done = std::move(done)](Result<std::unique_ptr<Lease>> lease) mutable {
      if (!lease.ok()) return done(std::move(lease));
      if (member.get() != nullptr) member.get()->up_since_ = member.get()->world_.loop.now();
      std::unique_ptr<Lease> own = std::make_unique<MarkedLease>(member, *site, std::move(*lease));
      done(std::move(own));
    });
  }

 private:
  Member& member_;
  std::unique_ptr<Registry> registry_;
};

Member::Member(kit::SimWorld& world, Site& site, int number, MemberKind kind, Visited visited)
    : world_(world), site_(site), name_("m" + std::to_string(number)), kind_(std::move(kind)), visited_(std::move(visited)) {
  health_.set(fleet_service, Health::State::serving);
  NEBULA_ASSERT(router_.add({"/" + fleet_service + "/greet", false, static_cast<Service*>(this)}).ok());
  NEBULA_ASSERT(router_.add(health_.watch_method()).ok());
  record_ = std::make_unique<Record>(*this);
  server_ = std::make_unique<AnnouncedServer>(world_.network.env(), record_.get(), router_, ServerLimits{});
  NEBULA_ASSERT(server_->listen(kit::url("mem:" + name_)).ok());
  server_->announce({fleet_service}, [](Result<bool>) {});
}

Member::~Member() {
  server_.reset();
  held_.clear();
}

// In the order in which a program does it (capi/server.cc); its other loops hear of it a moment later.
void Member::drain(Fn<void()> then) {
  steps_down_ = world_.loop.now();
  health_.shut_down();
  server_->step_down(grace, [this, then = std::move(then)](Duration left) mutable {
    Duration pause = nanos(world_.random.between(0, hearing_max.ns));
    go_timer_ = world_.loop.after(pause, [this, left = left - pause, then = std::move(then)]() mutable {
      server_->drain(left, [this, then = std::move(then)]() mutable { world_.loop.post(std::move(then)); });
    });
  });
}

void Member::kill() {
  killed_ = steps_down_ = world_.loop.now();
  server_.reset();
  held_.clear();
  site_.near.kill(fleet_service, id_);
}

void Member::set_well(bool on) {
  is_well_ = on;
  well_changed_ = world_.loop.now();
  health_.set(fleet_service, on ? Health::State::serving : Health::State::not_serving);
}

void Member::call(Request request, Reply reply) {
  visited_(*this, request);
  uint64_t held = next_held_++;
  Duration work = nanos(world_.random.between(0, kind_.work_max.ns));
  held_[held] = {std::move(reply), world_.loop.after(work, [this, held] { answer(held); })};
}

void Member::answer(uint64_t held) {
  auto work = held_.extract(held);
  Response response = kit::with("done");
  response.trailers.add("endpoint-load-metrics-bin", load_report(kind_.utilization));
  work.mapped().first(std::move(response));
}

}  // namespace nebula::sim
