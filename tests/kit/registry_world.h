// kit/registry_world.h - temp directories, what a watcher sees, and instances that are processes of their own.
//
// A process is a fork of the test before it has any thread, and does what it is told through a pipe; when the test ends,
// however, the pipe does, and with it the process. Nothing sleeps: the test's own loop waits for what it wants to see.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "loop/fork.h"
#include "loop/uv_loop.h"
#include "service/registry/host.h"

namespace nebula::kit {

inline Endpoint endpoint(std::string id, const std::string& url = "tcp://127.0.0.1:1") {
  return {std::move(id), {*Url::parse(url)}, 1};
}

class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();  // with all that is in it
  std::string path;
  std::string file(const std::string& name) const { return path + "/" + name; }
};

bool exists(const std::string& path);
void write_file(const std::string& path, const std::string& content);
std::vector<std::string> files_of(const std::string& path, const std::string& suffix);

// One watch, and every snapshot that came.
struct Seen {
  std::unique_ptr<Watch> watch;
  std::vector<Snapshot> snapshots;

  Seen(Registry& registry, const std::string& service);
  std::vector<std::string> ids() const;  // of the last snapshot; {"none yet"} before the first
};

// The same of a policy.
struct SeenPolicy {
  std::unique_ptr<Watch> watch;
  std::vector<std::optional<std::string>> texts;

  SeenPolicy(Registry& registry, std::string_view name);
  bool is(const std::optional<std::string>& text) const { return !texts.empty() && texts.back() == text; }
};

// A host registry and the loop it lives on.
struct Host {
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
  Log log{Level::off};
  Random random{1};
  std::unique_ptr<Registry> registry;

  explicit Host(const std::string& directory);
  // Turns the loop until that holds. False: it did not within ten seconds.
  bool until(const std::function<bool()>& holds);
  bool until_sees(const Seen& seen, const std::vector<std::string>& ids) {
    return until([&] { return seen.ids() == ids; });
  }
  // The outcome of an announcement; the lease is kept until `leases` is cleared.
  Status announce(const std::string& service, Endpoint self);
  std::vector<std::unique_ptr<Lease>> leases;
};

struct Announcement {
  std::string service;
  Endpoint endpoint;
};

// Another process. Ends with this object; `crash` is kill -9.
class Process {
 public:
  // Announces these in `directory`, and is ready when this returns.
  Process(const std::string& directory, std::vector<Announcement> announcements);
  // The same, with a child of its own that was forked after the announcements and does nothing.
  static std::unique_ptr<Process> with_child(const std::string& directory, std::vector<Announcement> announcements);
  ~Process();

  void crash();
  void stop();      // SIGSTOP
  void withdraw();  // an orderly end

 private:
  Process(const std::string& directory, std::vector<Announcement> announcements, bool has_child);
  [[noreturn]] void run(const std::string& directory, const std::vector<Announcement>& announcements, bool has_child,
                        int orders, int answers);

  pid_t pid_ = -1;
  Fd orders_;  // closed: end
};

}  // namespace nebula::kit
