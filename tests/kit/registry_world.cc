// kit/registry_world.cc - forks and waits.
#include "kit/registry_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace nebula::kit {

TempDirectory::TempDirectory() {
  char name[] = "/tmp/nebula-test-XXXXXX";
  NEBULA_ASSERT(mkdtemp(name) != nullptr);
  path = name;
}

TempDirectory::~TempDirectory() {
  auto remove_one = [](const char* name, const struct stat*, int, struct FTW*) { return ::remove(name); };
  nftw(path.c_str(), remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

bool exists(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0;
}

void write_file(const std::string& path, const std::string& content) {
  int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
  NEBULA_ASSERT(fd >= 0 && write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  close(fd);
}

std::vector<std::string> files_of(const std::string& path, const std::string& suffix) {
  std::vector<std::string> names;
  DIR* stream = opendir(path.c_str());
  if (stream == nullptr) return names;
  while (const dirent* entry = readdir(stream))
    if (std::string_view(entry->d_name).ends_with(suffix)) names.push_back(entry->d_name);
  closedir(stream);
  return names;
}

Seen::Seen(Registry& registry, const std::string& service) {
  watch = registry.watch(service, [this](Snapshot snapshot) { snapshots.push_back(std::move(snapshot)); });
}

std::vector<std::string> Seen::ids() const {
  if (snapshots.empty()) return {"none yet"};
  std::vector<std::string> ids;
  for (const Endpoint& endpoint : *snapshots.back().endpoints) ids.push_back(endpoint.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

SeenPolicy::SeenPolicy(Registry& registry, std::string_view name) {
  watch = registry.watch_kept_policy(name, [this](std::optional<std::string> text) { texts.push_back(std::move(text)); });
}

Host::Host(const std::string& directory) {
  Result<HostPlace> place = choose_host_place(*Url::parse("host:?dir=" + directory));
  NEBULA_ASSERT(place.ok());
  registry = make_host_registry(*place, *loop, log, random);
}

bool Host::until(const std::function<bool()>& holds) {
  Time end = loop->now() + sec(10);
  while (!holds()) {
    if (loop->now() >= end) return false;
    loop->run_once(ms(20));
  }
  return true;
}

Status Host::announce(const std::string& service, Endpoint self) {
  std::optional<Status> outcome;
  registry->announce(service, std::move(self), [&](Result<std::unique_ptr<Lease>> lease) {
    outcome = lease.status();
    if (lease.ok()) leases.push_back(std::move(*lease));
  });
  until([&] { return outcome.has_value(); });
  return outcome.value_or(internal("no answer"));
}

Process::Process(const std::string& directory, std::vector<Announcement> announcements)
    : Process(directory, std::move(announcements), false) {}

std::unique_ptr<Process> Process::with_child(const std::string& directory, std::vector<Announcement> announcements) {
  return std::unique_ptr<Process>(new Process(directory, std::move(announcements), true));
}

Process::Process(const std::string& directory, std::vector<Announcement> announcements, bool has_child) {
  int orders[2], answers[2];
  NEBULA_ASSERT(pipe2(orders, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0);
  orders_ = Fd(orders[1]);  // no later process inherits it
  pid_ = fork();
  NEBULA_ASSERT(pid_ >= 0);
  if (pid_ == 0) {
    close(answers[0]);
    run(directory, announcements, has_child, orders[0], answers[1]);
  }
  close(orders[0]);
  close(answers[1]);
  char answer = 0;
  NEBULA_ASSERT(read(answers[0], &answer, 1) == 1 && answer == 'r');
  close(answers[0]);
}

void Process::run(const std::string& directory, const std::vector<Announcement>& announcements, bool has_child,
                  int orders, int answers) {
  Host host(directory);
  bool is_ok = true;
  for (const Announcement& one : announcements) is_ok = is_ok && host.announce(one.service, one.endpoint).ok();
  bool has_ended = false;
  if (has_child && fork() == 0) {
    // Holds what it inherited until the test itself has gone.
    close(answers);
    char none;
    while (read(orders, &none, 1) > 0) {
    }
    _exit(0);
  }
  is_ok = is_ok && write(answers, "r", 1) == 1;
  close(answers);
  std::unique_ptr<FdWatch> end = host.loop->watch(orders, [&has_ended] { has_ended = true; });
  while (is_ok && !has_ended) host.loop->run_once(sec(60));
  end.reset();
  host.leases.clear();
  host.registry.reset();
  _exit(0);
}

Process::~Process() {
  if (pid_ > 0) crash();
}

void Process::crash() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void Process::stop() {
  kill(pid_, SIGSTOP);
  waitpid(pid_, nullptr, WUNTRACED);
}

void Process::withdraw() {
  orders_.reset();
  waitpid(std::exchange(pid_, -1), nullptr, 0);
}

}  // namespace nebula::kit
