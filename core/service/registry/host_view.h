// service/registry/host_view.h - HostView: which instances of the host registry's directory live, and which policies stand
// there, kept up to date.
//
// The watcher's half of the recipe: watch, then look; probe what was closed; unlist the dead at once and then tidy after
// them. All services are followed, not only those asked for: a death is a few microseconds of work, and somebody must
// tidy. Lives on one loop; owned by HostRegistry (host.cc). Below: loop/files.h, loop/files_watch.h.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "loop/anchor.h"
#include "loop/files_watch.h"
#include "service/registry/host_place.h"
#include "service/registry/policy_texts.h"
#include "service/registry/record.h"
#include "service/registry/watchers.h"

namespace nebula {

class HostView final : DirectoryWatch::Owner {
 public:
  class Listener {
   public:
    // Who is listed, or trouble(), may have changed; `is_fresh` after a look at everything. The view may be destroyed
    // inside.
    virtual void on_view(bool is_fresh) = 0;

   protected:
    ~Listener() = default;
  };

  // Policies are put into `policies`.
  HostView(HostPlace place, Loop& loop, Log& log, Random& random, PolicyTexts& policies, Listener& listener);
  ~HostView();

  // Has the directory ready and watched, made anew if it must be. Tells nobody.
  Status ready();
  // The same, then looks at every file and tells the listener.
  void look();
  // As fresh as that, and for less where the directory was looked at and is watched: hears what happened to it since.
  void catch_up();

  const Directory& directory() const { return *directory_; }  // while ready() is ok
  const Status& trouble() const { return trouble_; }
  EndpointList endpoints(std::string_view service) const;
  std::vector<std::string> services() const;
  // The instances that died of late, as against those that were withdrawn.
  const std::vector<std::string>& died() const { return died_.ids(); }

  Changes take_changes() { return std::exchange(changes_, {}); }  // since the last time

  // This process's own files are listed, but never probed or tidied.
  void own(const std::string& name) { own_.insert(name); }
  void disown(const std::string& name) { own_.erase(name); }
  // Was an own file removed since the last question?
  bool take_own_missing() { return std::exchange(own_missing_, false); }

 private:
  // What a dead process left behind.
  struct Grave {
    std::map<std::string, std::vector<std::string>> records;  // and the sockets of each
    std::string alive;                                        // goes last: without it a record could look alive
    size_t tries = 0;
  };
  struct Recheck {
    std::unique_ptr<Timer> timer;
    size_t tries = 0;
  };

  void on_events(std::vector<DirectoryEvent> events) override { hear(std::move(events), false); }
  void hear(std::vector<DirectoryEvent> events, bool is_fresh);
  void settle(bool is_fresh);
  Status trouble_with(const Status& why);

  void scan(const std::vector<std::string>& names);
  void sweep(const std::vector<std::string>& names);
  Life check(const std::string& name);
  Life check_record(const std::string& name);
  Life check_alive(const std::string& name);
  void check_policy(const std::string& name);
  void check_again(const std::string& name);
  void recheck(std::string name);
  void forget(const std::string& name);
  void complain(const std::string& name, std::string_view why);

  void unlist(std::map<std::string, Record>::iterator dead);
  void bury(const std::string& name, const Record& record);
  void bury_all(const std::string& alive);
  void tidy_soon();
  void tidy();
  std::vector<std::string> sockets_of(const Record& record) const;

  HostPlace place_;
  Loop& loop_;
  Log& log_;
  Random& random_;
  PolicyTexts& policies_;
  Listener& listener_;

  std::unique_ptr<Directory> directory_;  // null: trouble_ says why
  std::unique_ptr<DirectoryWatch> watch_;
  Status trouble_;
  std::unique_ptr<Timer> trouble_timer_;

  DiedList died_;
  std::map<std::string, Record> records_;  // of the living, by file
  std::map<std::string, Life> alive_;      // what was found out during one look or batch of events
  std::map<std::string, Recheck> rechecks_;
  std::map<std::string, Grave> graves_;  // by their alive file, or by their only record
  std::unique_ptr<Timer> tidy_timer_;
  std::set<std::string> own_;
  std::set<std::string> complained_;  // malformed files: one line each
  bool own_missing_ = false;
  Changes changes_;
  bool has_looked_ = false;  // since the directory is watched
  bool has_swept_ = false;
  bool has_told_of_polling_ = false;
  bool will_tidy_ = false;
  Anchor<HostView> anchor_{*this};
};

}  // namespace nebula
