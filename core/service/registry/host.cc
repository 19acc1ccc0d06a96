// service/registry/host.cc - the owner's half of the host registry: records, their locks, the keeper; and the watchers.
#include "service/registry/host.h"

#include <map>
#include <utility>

#include "base/limits.h"
#include "loop/anchor.h"
#include "loop/keeper.h"
#include "service/registry/host_view.h"
#include "service/registry/registries.h"
#include "service/registry/watchers.h"

namespace nebula {

namespace {

class HostRegistry final : public Registry, HostView::Listener, Watchers::Source {
 public:
  HostRegistry(HostPlace place, Loop& loop, Log& log, Random& random)
      : loop_(loop), log_(log), view_(std::move(place), loop, log, random, policies_, *this) {}
  ~HostRegistry() override;

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override;
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override;
  Result<std::optional<Url>> local_address(std::string_view id) override;
  bool keeps_policies() const override { return true; }
  std::unique_ptr<Watch> watch_kept_policy(std::string_view name, OnPolicy on_policy) override;

 private:
  class HostLease;

  struct Announced {
    Record record;
    std::unique_ptr<HeldFile> file;
  };

  void on_view(bool is_fresh) override;
  Snapshot snapshot(std::string_view service) override;

  Result<std::unique_ptr<Lease>> place(Record record);
  Status mark(const std::string& name, Mark mark);
  void withdraw(const std::string& name);
  void start_keeper();
  void tell_of_no_keeper(const Status& why);
  Status ready();
  void look_soon();
  void restore();
  bool is_forked() const { return fork_generation() != fork_generation_; }

  Loop& loop_;
  Log& log_;
  PolicyTexts policies_;
  HostView view_;
  Watchers watchers_;
  std::map<std::string, Announced> announced_;  // by file
  std::string alive_;                           // the keeper's file; empty without a keeper
  std::unique_ptr<Keeper> keeper_;
  bool has_tried_keeper_ = false;
  bool has_told_of_no_keeper_ = false;
  bool will_look_ = false;
  Time restore_next_;
  std::unique_ptr<Timer> restore_timer_;
  uint64_t fork_generation_ = fork_generation();
  Anchor<HostRegistry> anchor_{*this};
};

class HostRegistry::HostLease final : public Lease {
 public:
  HostLease(Anchor<HostRegistry>::Ref registry, std::string name)
      : registry_(std::move(registry)), name_(std::move(name)) {}
  ~HostLease() override {
    if (HostRegistry* registry = registry_.get()) registry->withdraw(name_);
  }
  void mark(Mark mark, Done<bool> done) override {
    HostRegistry* registry = registry_.get();
    Status marked = registry != nullptr ? registry->mark(name_, mark) : unavailable("the registry was closed");
    done(marked.ok() ? Result<bool>(true) : Result<bool>(std::move(marked)));
  }

 private:
  Anchor<HostRegistry>::Ref registry_;
  std::string name_;
};

// First the records, each removed before its lock is given up, so that nobody takes the end for a death; the keeper's
// file last.
HostRegistry::~HostRegistry() {
  while (!announced_.empty()) withdraw(std::string(announced_.begin()->first));
}

std::unique_ptr<Watch> HostRegistry::watch(std::string_view service, Fn<void(Snapshot)> on_change) {
  std::unique_ptr<Watch> watch = watchers_.add(service, std::move(on_change));
  look_soon();
  return watch;
}

std::unique_ptr<Watch> HostRegistry::watch_kept_policy(std::string_view name, OnPolicy on_policy) {
  std::unique_ptr<Watch> watch = policies_.watch(name, std::move(on_policy));
  look_soon();
  return watch;
}

void HostRegistry::announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) {
  Record record{std::string(service), std::move(self), ""};
  Status usable = check_service_name(record.service);
  if (usable.ok()) usable = check_instance_id(record.endpoint.id);
  if (usable.ok() && announced_.contains(record.file_name()))
    usable = already_exists("instance " + record.endpoint.id + " of " + record.service + " is announced already");
  if (usable.ok()) usable = ready();
  if (!usable.ok()) return done(std::move(usable));
  done(place(std::move(record)));
}

Result<std::unique_ptr<Lease>> HostRegistry::place(Record record) {
  start_keeper();
  record.alive = alive_;
  Result<std::string> text = record.checked_text();
  if (!text.ok()) return text.status().with_context("host registry");
  std::string name = record.file_name();
  Result<std::unique_ptr<HeldFile>> file = view_.directory().place(name, *text);
  if (!file.ok())
    return Status(file.status().code(), "host registry: " + std::string(file.status().message()) + host_place_advice);
  // Everybody sees the record by now; but only with the keeper's lock it is sure to go in time when the process dies.
  if (keeper_ != nullptr && !keeper_->ready().ok()) tell_of_no_keeper(keeper_->ready());
  view_.own(name);
  announced_.emplace(name, Announced{std::move(record), std::move(*file)});
  return std::unique_ptr<Lease>(std::make_unique<HostLease>(anchor_.ref(), std::move(name)));
}

// The new file takes the place of the old one in one step, and has its lock by then: nobody takes it for a death.
Status HostRegistry::mark(const std::string& name, Mark mark) {
  auto at = announced_.find(name);
  if (at == announced_.end() || is_forked()) return failed_precondition("host registry: " + name + " is not announced here");
  apply(mark, &at->second.record.endpoint);
  if (Status usable = ready(); !usable.ok()) return usable;
  Result<std::unique_ptr<HeldFile>> file = view_.directory().place(name, at->second.record.text());
  if (!file.ok()) return file.status().with_context("host registry");
  at->second.file = std::move(*file);
  return {};
}

void HostRegistry::withdraw(const std::string& name) {
  auto at = announced_.find(name);
  if (at == announced_.end()) return;
  // In a forked child the file is the parent's.
  if (!is_forked() && view_.trouble().ok()) view_.directory().remove(*at->second.file);
  view_.disown(name);
  announced_.erase(at);
}

// Early, since a new thread comes late on a busy machine; but who only watches needs none.
void HostRegistry::start_keeper() {
  if (std::exchange(has_tried_keeper_, true)) return;
  std::string name = unique_name().append(alive_suffix);
  Result<std::unique_ptr<Keeper>> keeper = Keeper::start(view_.directory().path(), name);
  if (!keeper.ok()) return tell_of_no_keeper(keeper.status());
  view_.own(name);
  keeper_ = std::move(*keeper);
  alive_ = std::move(name);
}

void HostRegistry::tell_of_no_keeper(const Status& why) {
  if (std::exchange(has_told_of_no_keeper_, true)) return;
  NEBULA_LOG(log_, info, "host registry: without a keeper, the death of a large process shows late: " + why.text());
}

Result<std::optional<Url>> HostRegistry::local_address(std::string_view id) {
  Status usable = check_instance_id(id);
  if (usable.ok()) usable = ready();
  if (!usable.ok()) return usable;
  start_keeper();
  Url url;
  url.scheme = "unix";
  url.path = view_.directory().path() + "/" + std::string(id).append(socket_suffix);
  // Longer paths are cut off silently by some, and a path with a question mark in it does not survive as an address.
  Result<Url> read = Url::parse(url.text());
  if (url.path.size() > limits::unix_path_max || !read.ok() || *read != url) return std::optional<Url>();
  return std::optional<Url>(std::move(url));
}

// The directory may be another one than before, and what dead processes left in it is swept though nobody watches.
Status HostRegistry::ready() {
  look_soon();
  return view_.ready();
}

// Many watches that begin in one turn are answered by one look; and once all was looked at, by what happened since.
void HostRegistry::look_soon() {
  if (std::exchange(will_look_, true)) return;
  loop_.later([self = anchor_.ref()] {
    if (self.get() == nullptr) return;
    self.get()->will_look_ = false;
    self.get()->view_.catch_up();
  });
}

void HostRegistry::on_view(bool is_fresh) {
  if (view_.take_own_missing()) restore();
  // Policies first, so that a channel has its own when it hears of instances.
  Anchor<HostRegistry>::Ref self = anchor_.ref();
  policies_.tell(is_fresh);
  if (self.get() != nullptr) watchers_.tell(*this, is_fresh, view_.take_changes());
}

// Somebody removed own files: a cleaner, or a log-out that took the runtime directory along. They are placed again, but
// only so often: whoever takes us for dead, through another mount, would remove them as fast as we can write.
void HostRegistry::restore() {
  Time now = loop_.now();
  bool is_early = now < restore_next_;
  if (!is_early && ready().ok()) {
    restore_next_ = now + limits::registry_poll_interval;
    if (keeper_ != nullptr && (!keeper_->ready().ok() || keeper_->is_missing())) {
      // The old one goes after the new one is there; it does not touch a file that is not its own.
      Result<std::unique_ptr<Keeper>> keeper = Keeper::start(view_.directory().path(), alive_);
      if (keeper.ok()) keeper_ = std::move(*keeper);
    }
    bool is_complete = true;
    for (auto& [name, announced] : announced_) {
      if (view_.directory().has(*announced.file)) continue;
      NEBULA_LOG(log_, warn,
                 "host registry: " + view_.directory().path() + "/" + name + " was removed; it is announced again");
      Result<std::unique_ptr<HeldFile>> file = view_.directory().place(name, announced.record.text());
      is_complete = is_complete && file.ok();
      if (file.ok()) announced.file = std::move(*file);
    }
    if (is_complete) return;
  }
  restore_timer_ = loop_.after(limits::registry_poll_interval, [this] { restore(); });
}

Snapshot HostRegistry::snapshot(std::string_view service) {
  Status named = check_service_name(service);
  EndpointList endpoints = view_.endpoints(service);
  std::vector<std::string> names = endpoints.empty() ? view_.services() : std::vector<std::string>();
  Snapshot snapshot = make_snapshot(std::move(endpoints), service, names);
  snapshot.died = view_.died();
  snapshot.trouble = named.ok() ? view_.trouble() : named;
  return snapshot;
}

}  // namespace

std::unique_ptr<Registry> make_host_registry(HostPlace place, Loop& loop, Log& log, Random& random) {
  return std::make_unique<HostRegistry>(std::move(place), loop, log, random);
}

Driver<Registry> host_registry_driver() {
  auto open = [](const Url& url, const Env& env) -> Result<std::unique_ptr<Registry>> {
    TRY(HostPlace place, choose_host_place(url));
    return make_host_registry(std::move(place), env.loop, env.log, env.random);
  };
  return {"host", "host: or host:?dir=/path&ns=name", open};
}

}  // namespace nebula
