// sim/member.h - one instance of a fleet: announced, well or not, loaded, drained or killed; and what may be known of that.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kit/calls.h"
#include "kit/world.h"
#include "rpc/health.h"
#include "service/announced_server.h"
#include "sim/site.h"

namespace nebula::sim {

struct MemberKind {
  std::string group;
  bool is_near = true;      // on the host of who calls: in both registries, and not in the far one alone
  double utilization = 0.5; // as it reports, with always as many calls a second
  Duration work_max;        // of a call
};

class Member final : private Service {
 public:
  using Visited = Fn<void(Member&, const Request&)>;
  Member(kit::SimWorld& world, Site& site, int number, MemberKind kind, Visited visited);
  ~Member() override;  // as kill does, where it has not ended

  // The three ways in which it changes. `then` of drain() comes in a step of its own.
  void drain(Fn<void()> then);
  void end() { server_.reset(); }  // when it has drained
  void kill();  // the far registry has still to find out: bury()
  void bury() { site_.far.kill(fleet_service, id_); }
  void set_well(bool on);

  const MemberKind& kind() const { return kind_; }
  const std::string& name() const { return name_; }
  bool is_up() const { return !up_since_.is_never() && steps_down_.is_never(); }  // everybody knows it, and it takes calls
  bool is_well() const { return is_well_; }
  Time up_since() const { return up_since_; }
  Time well_changed() const { return well_changed_; }
  Time marked() const { return marked_; }  // never: not everybody knows that it drains
  Time killed() const { return killed_; }

 private:
  class Record;
  class MarkedLease;

  void call(Request request, Reply reply) override;
  void answer(uint64_t held);

  kit::SimWorld& world_;
  Site& site_;
  const std::string name_;
  const MemberKind kind_;
  Visited visited_;
  std::string id_;  // as it is announced
  Time up_since_ = Time::never(), steps_down_ = Time::never(), marked_ = Time::never(), killed_ = Time::never();
  Time well_changed_;
  bool is_well_ = true;
  Health health_;
  Router router_;
  std::unique_ptr<Record> record_;
  std::unique_ptr<AnnouncedServer> server_;
  std::unique_ptr<Timer> go_timer_;
  std::map<uint64_t, std::pair<Reply, std::unique_ptr<Timer>>> held_;
  uint64_t next_held_ = 1;
  Anchor<Member> anchor_{*this};
};

}  // namespace nebula::sim
