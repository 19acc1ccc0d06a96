// sim/fleet_checks.cc - once, in time, and to whom it may go.
#include "sim/fleet_checks.h"

#include <algorithm>

namespace nebula::sim {

namespace {

// What everybody was told is in force so much later: in the steps that follow.
constexpr Duration at_once = ms(1);
// By then a connection stands, and has said whether its peer is well.
constexpr Duration connected = ms(300);
// So long after an instance has come a policy recovery: may turn calls away: its hold, and until it was found.
constexpr Duration recovered = sec(4);

bool has_settled(const Program& program, Time now) { return now > program.policy_since() + at_once; }

class AtMostOnce final : public Check {
  std::string on_visit(const Visit& visit) override {
    return visit.asked.runs > 1 && !visit.asked.is_idempotent ? "ran twice, which it must not" : "";
  }
  std::string on_end(const Asked& asked, Code, Time) override { return asked.ends > 1 ? "was answered twice" : ""; }
};

class InTime final : public Check {
  std::string on_visit(const Visit& visit) override {
    if (visit.asked.ends > 0) return "ran after it had ended";
    return visit.now > visit.asked.deadline ? "ran after its deadline" : "";
  }
  std::string on_end(const Asked& asked, Code, Time now) override {
    return now > asked.deadline ? "ended after its deadline" : "";
  }
};

// Whatever is restarted, lost or changed: a call fails only when a process is killed; or while instances come back, where
// the policy wants that.
class NothingLost final : public Check {
 public:
  explicit NothingLost(const Members& members) : members_(members) {}

 private:
  std::string on_end(const Asked& asked, Code code, Time now) override {
    if (code == Code::ok) return "";
    bool killed = std::any_of(members_.begin(), members_.end(), [&](const std::unique_ptr<Member>& each) {
      return each->killed() >= asked.begun && each->killed() <= now;
    });
    bool may_be_turned_away = code == Code::unavailable && asked.program->policy().recovers;
    bool recovers = may_be_turned_away && std::any_of(members_.begin(), members_.end(), [&](const auto& each) {
      return !each->is_up() || now < each->up_since() + recovered;
    });
    return killed || recovers ? "" : "failed, though nobody was killed meanwhile";
  }

  const Members& members_;
};

class NobodyWhoDrains final : public Check {
  std::string on_visit(const Visit& visit) override {
    Time marked = visit.member.marked();
    return !marked.is_never() && visit.now > marked + at_once ? "went to one who has said that it drains" : "";
  }
};

class NobodyUnwell final : public Check {
  std::string on_visit(const Visit& visit) override {
    const Program& program = *visit.asked.program;
    if (!program.policy().asks_health || visit.member.is_well() || !has_settled(program, visit.now)) return "";
    return visit.now > visit.member.well_changed() + at_once ? "went to one who says that it is not well" : "";
  }
};

class NobodyFilteredOut final : public Check {
  std::string on_visit(const Visit& visit) override {
    const Program& program = *visit.asked.program;
    const std::string& group = program.policy().group;
    if (group.empty() || group == visit.member.kind().group || !has_settled(program, visit.now)) return "";
    return "went to one of another group than its policy wants";
  }
};

// The later registry's are for who finds nobody in the earlier one; and for other tries.
class EarlierRegistryFirst final : public Check {
 public:
  explicit EarlierRegistryFirst(const Members& members) : members_(members) {}

 private:
  std::string on_visit(const Visit& visit) override {
    const Program& program = *visit.asked.program;
    if (visit.member.kind().is_near || !visit.is_first_try || visit.now < program.policy_since() + connected) return "";
    bool near = std::any_of(members_.begin(), members_.end(), [&](const std::unique_ptr<Member>& each) {
      return each->kind().is_near && each->is_up() && visit.now > each->up_since() + connected && each->is_well() &&
             visit.now > each->well_changed() + connected &&
             (program.policy().group.empty() || each->kind().group == program.policy().group);
    });
    return near ? "left the host, though one there would have taken it" : "";
  }

  const Members& members_;
};

}  // namespace

std::vector<std::unique_ptr<Check>> fleet_checks(const Members& members) {
  std::vector<std::unique_ptr<Check>> checks;
  checks.push_back(std::make_unique<AtMostOnce>());
  checks.push_back(std::make_unique<InTime>());
  checks.push_back(std::make_unique<NothingLost>(members));
  checks.push_back(std::make_unique<NobodyWhoDrains>());
  checks.push_back(std::make_unique<NobodyUnwell>());
  checks.push_back(std::make_unique<NobodyFilteredOut>());
  checks.push_back(std::make_unique<EarlierRegistryFirst>(members));
  return checks;
}

}  // namespace nebula::sim
