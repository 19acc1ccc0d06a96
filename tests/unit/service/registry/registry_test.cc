// unit/service/registry/registry_test.cc - what every registry does: host, mem, a real etcd, several of them as one, and one
// seen from another loop.
#include "service/registry/registry.h"

#include <criterion/criterion.h>

#include <filesystem>

#include "kit/etcd.h"
#include "kit/registry_world.h"
#include "loop/loop_thread.h"
#include "loop/sim_loop.h"
#include "service/registry/mem.h"
#include "service/registry/posted.h"
#include "service/registry/several.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Ids = std::vector<std::string>;

void put_file(const std::string& path, const std::optional<std::string>& content) {
  if (content)
    write_file(path, *content);
  else
    std::filesystem::remove(path);
}

class Subject {
 public:
  virtual ~Subject() = default;
  virtual Registry& registry() = 0;
  virtual void end() = 0;  // destroys the registry
  virtual bool until(const std::function<bool()>& holds) = 0;
  // Puts a policy where it keeps them; none: removes it.
  virtual void put_policy(const std::string& name, const std::optional<std::string>& text) = 0;

  Status announce(const std::string& service, const std::string& id, std::unique_ptr<Lease>* lease) {
    std::optional<Status> outcome;
    registry().announce(service, endpoint(id), [&](Result<std::unique_ptr<Lease>> result) {
      outcome = result.status();
      if (result.ok()) *lease = std::move(*result);
    });
    until([&] { return outcome.has_value(); });
    return outcome.value_or(internal("no answer"));
  }
};

class HostSubject final : public Subject {
 public:
  Registry& registry() override { return *host_.registry; }
  void end() override { host_.registry.reset(); }
  bool until(const std::function<bool()>& holds) override { return host_.until(holds); }
  void put_policy(const std::string& name, const std::optional<std::string>& text) override {
    put_file(directory_.file(name + ".policy"), text);
  }

 private:
  TempDirectory directory_;
  Host host_{directory_.path};
};

class MemSubject final : public Subject {
 public:
  explicit MemSubject(Duration delay) : registry_(std::make_unique<MemRegistry>(loop_, delay)) {}
  Registry& registry() override { return *registry_; }
  void put_policy(const std::string& name, const std::optional<std::string>& text) override {
    registry_->set_policy(name, text);
  }
  void end() override { registry_.reset(); }
  bool until(const std::function<bool()>& holds) override {
    while (!holds())
      if (!loop_.run_one()) return holds();
    return true;
  }

 private:
  SimLoop loop_{7};
  std::unique_ptr<MemRegistry> registry_;
};

class PostedSubject final : public Subject {
 public:
  PostedSubject() {
    home_->run_sync([this] { mem_ = std::make_unique<MemRegistry>(home_->loop()); });
    home_->at_end([this] { mem_.reset(); });
    registry_ = std::make_unique<PostedRegistry>(*home_, *mem_, *loop_);
  }
  Registry& registry() override { return *registry_; }
  void put_policy(const std::string&, const std::optional<std::string>&) override {}  // policy_places_test.cc
  void end() override { registry_.reset(); }
  bool until(const std::function<bool()>& holds) override {
    Time end = loop_->now() + sec(10);
    while (!holds()) {
      if (loop_->now() >= end) return false;
      loop_->run_once(ms(100));
    }
    return true;
  }

 private:
  std::unique_ptr<UvLoop> loop_ = std::move(*UvLoop::make());
  std::unique_ptr<MemRegistry> mem_;
  std::unique_ptr<LoopThread> home_ = std::move(*LoopThread::start());
  std::unique_ptr<PostedRegistry> registry_;
};

// A real one, where there is one.
class EtcdSubject final : public Subject {
 public:
  void put_policy(const std::string& name, const std::optional<std::string>& text) override {
    put(etcd_, world_, "/nebula/.policy/" + name, text);
  }
  Registry& registry() override { return *registry_; }
  void end() override { registry_.reset(); }
  bool until(const std::function<bool()>& holds) override { return world_.run_until(holds); }

 private:
  RealWorld world_;
  EtcdProcess etcd_;
  std::unique_ptr<Registry> registry_ = open_etcd(etcd_, world_);
};

template <class... Each>
std::unique_ptr<Registry> several(Each... each) {
  std::vector<std::unique_ptr<Registry>> all;
  (all.push_back(std::move(each)), ...);
  return std::make_unique<SeveralRegistries>(std::move(all));
}

// Two in one simulated world, of which the first is the slower one.
class TwoMemsSubject final : public Subject {
 public:
  void put_policy(const std::string& name, const std::optional<std::string>& text) override {
    second_->set_policy(name, text);
  }
  Registry& registry() override { return *registry_; }
  void end() override { registry_.reset(); }
  bool until(const std::function<bool()>& holds) override {
    while (!holds())
      if (!loop_.run_one()) return holds();
    return true;
  }

 private:
  SimLoop loop_{7};
  MemRegistry* second_ = new MemRegistry(loop_);
  std::unique_ptr<Registry> registry_ =
      several(std::make_unique<MemRegistry>(loop_, ms(20)), std::unique_ptr<MemRegistry>(second_));
};

// host: and, where there is one, a real etcd; else mem:.
class HostAndMoreSubject final : public Subject {
 public:
  void put_policy(const std::string& name, const std::optional<std::string>& text) override {
    if (etcd_ != nullptr) return put(*etcd_, world_, "/nebula/.policy/" + name, text);
    put_file(directory_.file(name + ".policy"), text);
  }
  Registry& registry() override { return *registry_; }
  void end() override { registry_.reset(); }
  bool until(const std::function<bool()>& holds) override { return world_.run_until(holds); }

 private:
  std::unique_ptr<Registry> more() {
    if (EtcdProcess::is_installed()) return open_etcd(*(etcd_ = std::make_unique<EtcdProcess>()), world_);
    return std::make_unique<MemRegistry>(world_.loop);
  }

  TempDirectory directory_;
  RealWorld world_;
  std::unique_ptr<EtcdProcess> etcd_;
  std::unique_ptr<Registry> registry_ =
      several(make_host_registry(*choose_host_place(url("host:?dir=" + directory_.path)), world_.loop, world_.log,
                                 world_.random),
              more());
};

enum Which { all, those_that_keep_policies };

void on_each(void (*behaviour)(Subject& subject), Which which = all) {
  {
    MemSubject mem{Duration()};
    behaviour(mem);
  }
  {
    MemSubject late(ms(20));
    behaviour(late);
  }
  {
    HostSubject host;
    behaviour(host);
  }
  if (which == all) {
    PostedSubject posted;
    behaviour(posted);
  }
  {
    TwoMemsSubject mems;
    behaviour(mems);
  }
  {
    HostAndMoreSubject host_and_more;
    behaviour(host_and_more);
  }
  if (EtcdProcess::is_installed()) {
    EtcdSubject etcd;
    behaviour(etcd);
  }
}

}  // namespace

Test(registry, tells_a_new_watcher_who_is_there_in_a_later_step) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> lease;
    cr_assert(subject.announce("hello", "a", &lease).ok());
    Seen seen(subject.registry(), "hello");
    cr_assert(seen.snapshots.empty());
    cr_assert(subject.until([&] { return !seen.snapshots.empty(); }));
    cr_assert(seen.ids() == Ids{"a"});
    cr_assert(seen.snapshots.back().endpoints->front() == endpoint("a"));
    cr_assert(seen.snapshots.back().trouble.ok());
  });
}

Test(registry, tells_of_nobody_too) {
  on_each([](Subject& subject) {
    Seen seen(subject.registry(), "hello");
    cr_assert(subject.until([&] { return seen.ids().empty(); }));
  });
}

Test(registry, tells_who_comes_and_who_goes) {
  on_each([](Subject& subject) {
    Seen seen(subject.registry(), "hello");
    std::unique_ptr<Lease> a, b;
    cr_assert(subject.announce("hello", "a", &a).ok());
    cr_assert(subject.announce("hello", "b", &b).ok());
    cr_assert(subject.until([&] { return seen.ids() == Ids{"a", "b"}; }));
    a.reset();
    cr_assert(subject.until([&] { return seen.ids() == Ids{"b"}; }));
    b.reset();
    cr_assert(subject.until([&] { return seen.ids().empty(); }));
  });
}

namespace {

// Several may say first that some of them have still to answer.
bool was_told_once(const Seen& seen) {
  const std::vector<Snapshot>& told = seen.snapshots;
  return told.size() == 1 || (told.size() == 2 && !told.front().is_whole && told.back().is_whole);
}

}  // namespace

Test(registry, gives_whole_snapshots_to_every_watcher) {
  on_each([](Subject& subject) {
    std::vector<std::unique_ptr<Lease>> leases(5);
    Seen early(subject.registry(), "hello");
    for (size_t i = 0; i < leases.size(); i++)
      cr_assert(subject.announce("hello", std::string(1, 'a' + i), &leases[i]).ok());
    Ids all = {"a", "b", "c", "d", "e"};
    cr_assert(subject.until([&] { return early.ids() == all; }));
    Seen late(subject.registry(), "hello");
    cr_assert(subject.until([&] { return late.ids() == all; }));
    cr_assert(was_told_once(late));
  });
}

Test(registry, does_not_say_the_same_twice) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> a;
    cr_assert(subject.announce("hello", "a", &a).ok());
    Seen first(subject.registry(), "hello");
    cr_assert(subject.until([&] { return first.ids() == Ids{"a"}; }));
    std::unique_ptr<Lease> other;
    cr_assert(subject.announce("world", "b", &other).ok());
    Seen second(subject.registry(), "world");
    cr_assert(subject.until([&] { return second.ids() == Ids{"b"}; }));
    cr_assert(was_told_once(first));
  });
}

Test(registry, keeps_services_apart_whose_names_begin_alike) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> a, b;
    cr_assert(subject.announce("shop", "a", &a).ok());
    cr_assert(subject.announce("shop.Cart", "b", &b).ok());
    Seen shop(subject.registry(), "shop"), cart(subject.registry(), "shop.Cart");
    cr_assert(subject.until([&] { return shop.ids() == Ids{"a"} && cart.ids() == Ids{"b"}; }));
  });
}

Test(registry, names_similar_services_when_there_is_nobody) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> a;
    cr_assert(subject.announce("hello", "a", &a).ok());
    Seen seen(subject.registry(), "helo");
    cr_assert(subject.until([&] { return !seen.snapshots.empty(); }));
    cr_assert(seen.snapshots.back().similar == Ids{"hello"});
  });
}

Test(registry, refuses_a_bad_name_in_words) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> lease;
    cr_assert_eq(subject.announce("no/good", "a", &lease).code(), Code::invalid_argument);
    Seen seen(subject.registry(), "no/good");
    cr_assert(subject.until([&] { return !seen.snapshots.empty(); }));
    cr_assert_eq(seen.snapshots.back().trouble.code(), Code::invalid_argument);
  });
}

Test(registry, refuses_the_same_instance_twice_and_takes_it_again_after_it_was_withdrawn) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> first, second;
    cr_assert(subject.announce("hello", "a", &first).ok());
    cr_assert_eq(subject.announce("hello", "a", &second).code(), Code::already_exists);
    first.reset();
    cr_assert(subject.announce("hello", "a", &second).ok());
    Seen seen(subject.registry(), "hello");
    cr_assert(subject.until([&] { return seen.ids() == Ids{"a"}; }));
  });
}

Test(registry, carries_all_that_an_instance_says_of_itself) {
  on_each([](Subject& subject) {
    Endpoint self = endpoint("a");
    self.weight = 7;
    self.zone = "eu-1";
    self.group = "canary";
    self.version = "2.1";
    self.labels = {{"tier", "gold"}, {"disk", "ssd"}};
    self.started = 1'763'786'400;
    self.description = 0x9f86d081884c7d65;
    std::unique_ptr<Lease> lease;
    subject.registry().announce("hello", self, [&](Result<std::unique_ptr<Lease>> result) { lease = std::move(*result); });
    Seen seen(subject.registry(), "hello");
    cr_assert(subject.until([&] { return lease != nullptr && seen.ids() == Ids{"a"}; }));
    cr_assert(seen.snapshots.back().endpoints->front() == self);
  });
}

Test(registry, marks_an_instance_as_draining_until_it_is_withdrawn) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> a, b;
    cr_assert(subject.announce("hello", "a", &a).ok());
    cr_assert(subject.announce("hello", "b", &b).ok());
    Seen seen(subject.registry(), "hello");
    cr_assert(subject.until([&] { return seen.ids() == Ids{"a", "b"}; }));
    std::optional<Status> outcome;
    a->drain([&](Result<bool> result) { outcome = result.status(); });
    cr_assert(subject.until([&] { return outcome.has_value(); }));
    cr_assert(outcome->ok(), "%s", outcome->text().c_str());
    Seen late(subject.registry(), "hello");
    for (const Seen* each : {&seen, &late}) {
      auto drains = [&] {
        if (each->snapshots.empty() || each->snapshots.back().endpoints->size() != 2) return false;
        const EndpointList& now = *each->snapshots.back().endpoints;
        return now[now[0].id == "a" ? 0 : 1].draining && !now[now[0].id == "a" ? 1 : 0].draining;
      };
      cr_assert(subject.until(drains));
      for (const Snapshot& snapshot : each->snapshots) cr_assert_eq(snapshot.endpoints->size(), 2u, "never off the list");
    }
    a.reset();
    cr_assert(subject.until([&] { return seen.ids() == Ids{"b"}; }));
    cr_assert(subject.announce("hello", "a", &a).ok());
    cr_assert(subject.until([&] { return seen.ids() == Ids{"a", "b"}; }));
    cr_assert(!seen.snapshots.back().endpoints->front().draining);
  });
}

Test(registry, tells_that_an_instance_does_not_serve_until_it_does) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> lease;
    cr_assert(subject.announce("hello", "a", &lease).ok());
    Seen seen(subject.registry(), "hello");
    cr_assert(subject.until([&] { return seen.ids() == Ids{"a"}; }));
    auto mark = [&](Mark mark) {
      std::optional<Status> outcome;
      lease->mark(mark, [&](Result<bool> result) { outcome = result.status(); });
      cr_assert(subject.until([&] { return outcome.has_value(); }));
      cr_assert(outcome->ok(), "%s", outcome->text().c_str());
    };
    auto is = [&](bool unwell, bool draining) {
      return subject.until([&] {
        const EndpointList& now = *seen.snapshots.back().endpoints;
        return now.size() == 1 && now[0].unwell == unwell && now[0].draining == draining;
      });
    };
    mark(Mark::unwell);
    cr_assert(is(true, false));
    mark(Mark::well);
    cr_assert(is(false, false));
    mark(Mark::unwell);
    mark(Mark::draining);
    cr_assert(is(true, true));
    for (const Snapshot& snapshot : seen.snapshots) cr_assert_eq(snapshot.endpoints->size(), 1u, "never off the list");
  });
}

Test(registry, answers_a_mark_also_when_it_goes_first) {
  on_each([](Subject& subject) {
    std::unique_ptr<Lease> lease;
    cr_assert(subject.announce("hello", "a", &lease).ok());
    bool is_answered = false;
    lease->drain([&](Result<bool>) { is_answered = true; });
    subject.end();
    cr_assert(is_answered);
    is_answered = false;
    lease->drain([&](Result<bool> result) { is_answered = !result.ok(); });
    cr_assert(is_answered, "a lease that outlives its registry marks nothing, and says so");
  });
}

Test(registry, says_nothing_after_the_watch_has_ended) {
  on_each([](Subject& subject) {
    Seen ended(subject.registry(), "hello"), seen(subject.registry(), "hello");
    ended.watch.reset();
    std::unique_ptr<Lease> a;
    cr_assert(subject.announce("hello", "a", &a).ok());
    cr_assert(subject.until([&] { return seen.ids() == Ids{"a"}; }));
    cr_assert(ended.snapshots.empty());
  });
}

Test(registry, lets_a_watch_end_and_another_begin_inside_its_own_event) {
  on_each([](Subject& subject) {
    std::unique_ptr<Watch> first;
    std::unique_ptr<Seen> second;
    first = subject.registry().watch("hello", [&](Snapshot) {
      first.reset();
      second = std::make_unique<Seen>(subject.registry(), "hello");
    });
    cr_assert(subject.until([&] { return second != nullptr && !second->snapshots.empty(); }));
  });
}

Test(registry, may_be_destroyed_inside_an_event) {
  on_each([](Subject& subject) {
    bool is_over = false;
    std::unique_ptr<Lease> lease;
    cr_assert(subject.announce("hello", "a", &lease).ok());
    Seen other(subject.registry(), "hello");
    std::unique_ptr<Watch> watch = subject.registry().watch("hello", [&](Snapshot) {
      subject.end();
      is_over = true;
    });
    cr_assert(subject.until([&] { return is_over; }));
    // What it gave out outlives it, and is harmless.
    lease.reset();
    watch.reset();
  });
}

Test(registry, answers_an_announcement_also_when_it_goes_first) {
  on_each([](Subject& subject) {
    std::optional<Code> code;
    std::unique_ptr<Lease> lease;
    subject.registry().announce("hello", endpoint("a"), [&](Result<std::unique_ptr<Lease>> result) {
      code = result.status().code();
      if (result.ok()) lease = std::move(*result);
    });
    subject.end();
    cr_assert(code.has_value());
  });
}

// ---- policies that stand in it

Test(registry, tells_which_policy_stands_there_in_a_later_step) {
  on_each(
      [](Subject& subject) {
        cr_assert(subject.registry().keeps_policies());
        subject.put_policy("shop", "balancer=least:");
        SeenPolicy shop(subject.registry(), "shop"), none(subject.registry(), "none");
        cr_assert(shop.texts.empty() && none.texts.empty());
        cr_assert(subject.until([&] { return shop.is("balancer=least:") && none.is(std::nullopt); }));
        cr_assert_eq(shop.texts.size(), 1u);
      },
      those_that_keep_policies);
}

Test(registry, tells_each_change_of_a_policy_and_that_it_is_gone) {
  on_each(
      [](Subject& subject) {
        SeenPolicy early(subject.registry(), "shop");
        cr_assert(subject.until([&] { return early.is(std::nullopt); }));
        for (const char* text : {"balancer=least:", "not a policy at all", ""}) {
          subject.put_policy("shop", text);
          cr_assert(subject.until([&] { return early.is(text); }));
        }
        SeenPolicy late(subject.registry(), "shop");
        cr_assert(subject.until([&] { return late.is(""); }));
        subject.put_policy("shop", std::nullopt);
        cr_assert(subject.until([&] { return early.is(std::nullopt) && late.is(std::nullopt); }));
        cr_assert_eq(late.texts.size(), 2u);
      },
      those_that_keep_policies);
}

Test(registry, keeps_policies_and_instances_apart) {
  on_each(
      [](Subject& subject) {
        subject.put_policy("hello", "first");
        SeenPolicy hello(subject.registry(), "hello"), help(subject.registry(), "help");
        Seen seen(subject.registry(), "hello"), other(subject.registry(), "hell");
        cr_assert(subject.until([&] { return hello.is("first") && seen.ids().empty() && other.ids().empty(); }));
        cr_assert(other.snapshots.back().similar.empty(), "a policy is no service");
        std::unique_ptr<Lease> lease;
        cr_assert(subject.announce("hello", "a", &lease).ok());
        subject.put_policy("help", "second");
        cr_assert(subject.until([&] { return seen.ids() == Ids{"a"} && help.is("second"); }));
        cr_assert_eq(hello.texts.size(), 1u);
      },
      those_that_keep_policies);
}

Test(registry, tells_a_policy_before_the_instances_that_it_is_for) {
  on_each(
      [](Subject& subject) {
        subject.put_policy("hello", "first");
        SeenPolicy policy(subject.registry(), "hello");
        bool was_first = false, is_told = false;
        std::unique_ptr<Watch> watch = subject.registry().watch("hello", [&](Snapshot) {
          was_first = !policy.texts.empty();
          is_told = true;
        });
        cr_assert(subject.until([&] { return is_told; }));
        cr_assert(was_first);
      },
      those_that_keep_policies);
}

Test(registry, says_nothing_of_a_policy_after_the_watch_has_ended) {
  on_each(
      [](Subject& subject) {
        SeenPolicy ended(subject.registry(), "hello"), seen(subject.registry(), "hello");
        ended.watch.reset();
        subject.put_policy("hello", "first");
        cr_assert(subject.until([&] { return seen.is("first"); }));
        cr_assert(ended.texts.empty());
      },
      those_that_keep_policies);
}

Test(registry, may_be_destroyed_when_it_tells_of_a_policy) {
  on_each(
      [](Subject& subject) {
        bool is_over = false;
        SeenPolicy before(subject.registry(), "hello");
        std::unique_ptr<Watch> watch = subject.registry().watch_kept_policy("hello", [&](std::optional<std::string>) {
          subject.end();
          is_over = true;
        });
        SeenPolicy after(subject.registry(), "hello");
        Seen seen(subject.registry(), "hello");
        cr_assert(subject.until([&] { return is_over; }));
        cr_assert(after.texts.empty() && seen.snapshots.empty());
        watch.reset();
      },
      those_that_keep_policies);
}

Test(registry_mem, kills_an_instance_whose_lease_then_holds_nothing) {
  SimLoop loop(1);
  MemRegistry registry(loop);
  Seen seen(registry, "hello");
  std::vector<std::unique_ptr<Lease>> leases;
  auto keep = [&](Result<std::unique_ptr<Lease>> lease) { leases.push_back(std::move(*lease)); };
  registry.announce("hello", endpoint("a"), keep);
  cr_assert(loop.run_until_idle(100));
  cr_assert(registry.kill("hello", "a"));
  cr_assert(!registry.kill("hello", "a"));
  cr_assert(loop.run_until_idle(100));
  cr_assert(seen.ids().empty());
  registry.announce("hello", endpoint("a"), keep);
  cr_assert(loop.run_until_idle(100));
  leases.erase(leases.begin());  // the dead one's; the new one of the same id stays
  cr_assert(loop.run_until_idle(100));
  cr_assert(seen.ids() == Ids{"a"});
}

Test(registry_mem, tells_a_change_when_the_delay_has_passed) {
  SimLoop loop(1);
  MemRegistry registry(loop, ms(20));
  Seen seen(registry, "hello");
  cr_assert(loop.run_until_idle(100));
  Time start = loop.now();
  std::unique_ptr<Lease> lease;
  registry.announce("hello", endpoint("a"), [&](Result<std::unique_ptr<Lease>> got) { lease = std::move(*got); });
  loop.run_until(start + ms(19));
  cr_assert(seen.ids().empty() && lease == nullptr);
  loop.run_until(start + ms(20));
  cr_assert(seen.ids() == Ids{"a"} && lease != nullptr);
}
