// unit/service/registry/host_test.cc - processes that die, directories that vanish, and files that lie.
#include "service/registry/host.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/limits.h"
#include "kit/registry_world.h"
#include "loop/files.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

using Ids = std::vector<std::string>;

Announcement hello(const std::string& id, const std::string& url = "tcp://127.0.0.1:1") {
  return {"hello", endpoint(id, url)};
}

// Binds and closes: a socket file that nobody listens at.
void leave_socket(const std::string& path) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path.c_str());
  cr_assert_eq(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(fd);
}

// A small file system of this test's own. False: this system does not allow it, and the test says so.
bool mount_own(const std::string& path, unsigned long flags, const char* options) {
  uid_t user = geteuid();
  bool is_alone = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
  if (is_alone && user != 0) {
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", std::to_string(user) + " " + std::to_string(user) + " 1");
  }
  if (is_alone && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
      mount("tmpfs", path.c_str(), "tmpfs", flags, options) == 0)
    return true;
  cr_skip_test("mounts are not allowed here");
  return false;
}

void expect_trouble(const std::string& directory, const std::string& words) {
  Host host(directory);
  Seen seen(*host.registry, "hello");
  cr_assert(host.until([&] { return !seen.snapshots.empty(); }));
  std::string trouble = seen.snapshots.back().trouble.text();
  cr_assert_neq(trouble.find(words), std::string::npos, "%s", trouble.c_str());
  cr_assert_neq(trouble.find(directory), std::string::npos, "%s", trouble.c_str());
  Status announced = host.announce("hello", endpoint("a"));
  cr_assert_neq(announced.text().find(words), std::string::npos, "%s", announced.text().c_str());
}

}  // namespace

// --- life and death ---

Test(registry_host, sees_another_process_come_and_go) {
  TempDirectory directory;
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  cr_assert(host.until_sees(seen, {}));
  Process process(directory.path, {hello("a")});
  cr_assert(host.until_sees(seen, {"a"}));
  process.withdraw();
  cr_assert(host.until_sees(seen, {}));
  cr_assert(seen.snapshots.back().died.empty());
  cr_assert(files_of(directory.path, ".record").empty());
  cr_assert(files_of(directory.path, ".alive").empty());
}

Test(registry_host, unlists_a_killed_process_and_tidies_after_it) {
  TempDirectory directory;
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  std::string socket = directory.file("a.sock");
  leave_socket(socket);
  Process process(directory.path, {hello("a", "unix:" + socket)});
  Process other(directory.path, {hello("b")});
  cr_assert(host.until_sees(seen, {"a", "b"}));
  process.crash();
  cr_assert(host.until_sees(seen, {"b"}));
  cr_assert(seen.snapshots.back().died == std::vector<std::string>{"a"});
  cr_assert(host.until([&] {
    return !exists(socket) && files_of(directory.path, ".record").size() == 1 &&
           files_of(directory.path, ".alive").size() == 1;
  }));
}

Test(registry_host, unlists_all_instances_of_a_dead_process_in_one_step) {
  TempDirectory directory;
  Process process(directory.path, {hello("a"), hello("b"), {"world", endpoint("c")}});
  Host host(directory.path);
  Seen hellos(*host.registry, "hello"), worlds(*host.registry, "world");
  cr_assert(host.until_sees(hellos, {"a", "b"}) && host.until_sees(worlds, {"c"}));
  process.crash();
  cr_assert(host.until_sees(hellos, {}) && host.until_sees(worlds, {}));
  cr_assert_eq(hellos.snapshots.size(), 2u);
}

Test(registry_host, keeps_a_stopped_process) {
  TempDirectory directory;
  Process stopped(directory.path, {hello("a")}), other(directory.path, {hello("b")});
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  cr_assert(host.until_sees(seen, {"a", "b"}));
  stopped.stop();
  other.crash();
  cr_assert(host.until_sees(seen, {"a"}));
  Seen fresh(*host.registry, "hello");
  cr_assert(host.until_sees(fresh, {"a"}));
}

Test(registry_host, unlists_a_killed_process_whose_forked_child_lives_on) {
  TempDirectory directory;
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  std::unique_ptr<Process> process = Process::with_child(directory.path, {hello("a")});
  cr_assert(host.until_sees(seen, {"a"}));
  process->crash();
  cr_assert(host.until_sees(seen, {}));
}

Test(registry_host, lets_a_forked_child_destroy_its_copy_without_harm) {
  TempDirectory directory;
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  cr_assert(host.announce("hello", endpoint("a")).ok());
  cr_assert(host.until_sees(seen, {"a"}));
  pid_t child = fork();
  if (child == 0) {
    host.leases.clear();
    seen.watch.reset();
    host.registry.reset();
    _exit(0);
  }
  int status = 0;
  cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  Host other(directory.path);
  Seen fresh(*other.registry, "hello");
  cr_assert(other.until_sees(fresh, {"a"}));
  cr_assert(other.until([&] { return files_of(directory.path, ".alive").size() == 1; }));
}

Test(registry_host, sees_what_two_registries_of_one_process_announce) {
  TempDirectory directory;
  Host one(directory.path), two(directory.path);
  cr_assert(one.announce("hello", endpoint("a")).ok());
  cr_assert(two.announce("hello", endpoint("b")).ok());
  Seen seen(*one.registry, "hello");
  cr_assert(one.until_sees(seen, {"a", "b"}));
  two.registry.reset();
  cr_assert(one.until_sees(seen, {"a"}));
}

Test(registry_host, shows_a_mark_to_other_processes_and_never_takes_it_for_a_death) {
  TempDirectory directory;
  Host host(directory.path), other(directory.path);
  Seen seen(*other.registry, "hello");
  cr_assert(host.announce("hello", endpoint("a")).ok());
  cr_assert(other.until_sees(seen, {"a"}));
  bool is_marked = false;
  host.leases[0]->drain([&](Result<bool> result) { is_marked = result.ok(); });
  cr_assert(host.until([&] { return is_marked; }));
  cr_assert(other.until([&] { return seen.snapshots.back().endpoints->front().draining; }));
  // The old file has been closed, and after all looks at it the instance is there.
  Time end = other.loop->now() + ms(100);
  cr_assert(other.until([&] { return other.loop->now() >= end; }));
  cr_assert(seen.ids() == Ids{"a"} && seen.snapshots.back().died.empty());
  cr_assert_eq(files_of(directory.path, ".record").size(), 1u);
  // A mark outlives the removal of its file.
  for (const std::string& name : files_of(directory.path, ".record")) unlink(directory.file(name).c_str());
  cr_assert(host.until([&] { return files_of(directory.path, ".record").size() == 1; }));
  Seen fresh(*other.registry, "hello");
  cr_assert(other.until_sees(fresh, {"a"}));
  cr_assert(fresh.snapshots.back().endpoints->front().draining);
}

// --- leftovers ---

Test(registry_host, sweeps_what_dead_processes_left_when_it_starts) {
  TempDirectory directory;
  {
    Process process(directory.path, {hello("a")});
    process.crash();
  }
  write_file(directory.file(".0123456789abcdef.tmp"), "half a rec");
  write_file(directory.file("00000000000000aa.alive"), "");
  cr_assert_eq(files_of(directory.path, ".record").size(), 1u);
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  cr_assert(host.until_sees(seen, {}));
  cr_assert(host.until([&] {
    return files_of(directory.path, ".record").empty() && files_of(directory.path, ".alive").empty() &&
           files_of(directory.path, ".tmp").empty();
  }));
}

Test(registry_host, does_not_sweep_a_young_socket_whose_owner_may_be_about_to_listen) {
  TempDirectory directory;
  leave_socket(directory.file("b.sock"));
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  cr_assert(host.until_sees(seen, {}));
  cr_assert(exists(directory.file("b.sock")));
}

Test(registry_host, passes_over_files_that_are_no_records) {
  TempDirectory directory;
  Process process(directory.path, {hello("a")});
  // Each of them under a lock, as if alive.
  std::unique_ptr<Directory> files = std::move(*Directory::prepare("/tmp", {directory.path.substr(5)}));
  std::vector<std::unique_ptr<HeldFile>> held;
  for (const auto& [name, content] : std::vector<std::pair<std::string, std::string>>{
           {"hello.b.record",
            "\x7f"
            "ELF"},
           {"hello.c.record", std::string(limits::record_bytes_max + 1, 'x')},
           {"hello.d.record", "nebula: 1\nservice: hello\ninstance: other\nurl: tcp://a:1\n"}})
    held.push_back(std::move(*files->place(name, content)));
  cr_assert_eq(symlink("hello.a.record", directory.file("hello.e.record").c_str()), 0);
  cr_assert_eq(mkfifo(directory.file("hello.f.record").c_str(), 0600), 0);
  cr_assert_eq(mkdir(directory.file("hello.g.record").c_str(), 0700), 0);
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  cr_assert(host.until_sees(seen, {"a"}));
  cr_assert_eq(files_of(directory.path, ".record").size(), 7u);
}

// --- the directory ---

Test(registry_host, announces_again_when_its_record_is_removed) {
  TempDirectory directory;
  Host host(directory.path), other(directory.path);
  Seen seen(*other.registry, "hello");
  cr_assert(host.announce("hello", endpoint("a")).ok());
  cr_assert(other.until_sees(seen, {"a"}));
  cr_assert(host.until([&] { return true; }));
  for (const std::string& name : files_of(directory.path, ".record")) unlink(directory.file(name).c_str());
  for (const std::string& name : files_of(directory.path, ".alive")) unlink(directory.file(name).c_str());
  cr_assert(host.until([&] {
    return files_of(directory.path, ".record").size() == 1 && files_of(directory.path, ".alive").size() == 1;
  }));
  Seen fresh(*other.registry, "hello");
  cr_assert(other.until_sees(fresh, {"a"}));
}

Test(registry_host, makes_a_removed_directory_again_and_announces_again) {
  TempDirectory directory;
  std::string inner = directory.file("registry");
  Host host(inner), other(inner);
  Seen seen(*other.registry, "hello");
  cr_assert(host.announce("hello", endpoint("a")).ok());
  cr_assert(other.until_sees(seen, {"a"}));
  for (int round = 0; round < 3; round++) {
    for (const char* suffix : {".record", ".alive"})
      for (const std::string& name : files_of(inner, suffix)) unlink((inner + "/" + name).c_str());
    cr_assert_eq(rmdir(inner.c_str()), 0);
    cr_assert(
        host.until([&] { return files_of(inner, ".record").size() == 1 && files_of(inner, ".alive").size() == 1; }));
    Process process(inner, {hello("b")});
    cr_assert(other.until_sees(seen, {"a", "b"}));
    process.withdraw();
    cr_assert(other.until_sees(seen, {"a"}));
  }
}

Test(registry_host, follows_the_path_when_the_directory_is_replaced) {
  TempDirectory directory;
  std::string inner = directory.file("registry");
  Host host(inner);
  Seen seen(*host.registry, "hello");
  cr_assert(host.announce("hello", endpoint("a")).ok());
  cr_assert(host.until_sees(seen, {"a"}));
  cr_assert_eq(rename(inner.c_str(), directory.file("moved").c_str()), 0);
  cr_assert(host.until([&] { return files_of(inner, ".record").size() == 1; }));
  Process process(inner, {hello("b")});
  cr_assert(host.until_sees(seen, {"a", "b"}));
}

Test(registry_host, looks_at_everything_again_when_events_were_lost) {
  TempDirectory directory;
  Host host(directory.path);
  Seen seen(*host.registry, "hello");
  cr_assert(host.until_sees(seen, {}));
  // More than the kernel keeps, while the loop stands still; names differ, for equal events are joined.
  for (int i = 0; i < 20'000; i++)
    close(open(directory.file(i % 2 ? "x" : "y").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  Process process(directory.path, {hello("a")});
  cr_assert(host.until_sees(seen, {"a"}));
}

// In a process of its own, since only one without threads may enter a user namespace; there the number of inotify
// instances is lowered for nobody else.
Test(registry_host, polls_when_inotify_is_used_up) {
  enum Outcome { passed, failed, not_allowed };
  TempDirectory directory;
  uid_t user = geteuid();
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWUSER) != 0) _exit(not_allowed);
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", std::to_string(user) + " " + std::to_string(user) + " 1");
    int fd = open("/proc/sys/user/max_inotify_instances", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1) _exit(not_allowed);
    close(fd);
    Host host(directory.path);
    Seen seen(*host.registry, "hello");
    bool is_seen = host.until_sees(seen, {});
    Process process(directory.path, {hello("a")});
    is_seen = is_seen && host.until_sees(seen, {"a"});
    process.crash();
    _exit(is_seen && host.until_sees(seen, {}) ? passed : failed);
  }
  int status = 0;
  cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status));
  if (WEXITSTATUS(status) == not_allowed) cr_skip_test("the number of inotify instances cannot be lowered here");
  cr_assert_eq(WEXITSTATUS(status), passed);
}

// --- trouble ---

Test(registry_host, refuses_a_symbolic_link) {
  TempDirectory directory;
  cr_assert_eq(symlink("/tmp", directory.file("link").c_str()), 0);
  expect_trouble(directory.file("link"), "is a symbolic link");
}

Test(registry_host, refuses_a_directory_that_others_can_write_to) {
  TempDirectory directory;
  cr_assert_eq(chmod(directory.path.c_str(), 0777), 0);
  expect_trouble(directory.path, "chmod 700");
}

Test(registry_host, refuses_a_directory_of_another_user) {
  if (geteuid() != 0) cr_skip_test("only root can give a directory away");
  TempDirectory directory;
  cr_assert_eq(chown(directory.path.c_str(), 4711, 4711), 0);
  expect_trouble(directory.path, "belongs to user 4711");
}

Test(registry_host, says_when_a_file_is_in_the_place_of_the_directory) {
  TempDirectory directory;
  write_file(directory.file("file"), "");
  expect_trouble(directory.file("file"), "is not a directory");
}

Test(registry_host, says_when_it_cannot_write) {
  TempDirectory directory;
  if (!mount_own(directory.path, MS_RDONLY, "mode=0700")) return;
  Host host(directory.path);
  Status announced = host.announce("hello", endpoint("a"));
  cr_assert_neq(announced.text().find("Read-only file system"), std::string::npos, "%s", announced.text().c_str());
  cr_assert_neq(announced.text().find(directory.path), std::string::npos);
  expect_trouble(directory.file("inner"), "Read-only file system");
  umount2(directory.path.c_str(), MNT_DETACH);
}

Test(registry_host, says_when_the_disk_is_full_and_leaves_nothing_half_written) {
  TempDirectory directory;
  if (!mount_own(directory.path, 0, "mode=0700,size=8k")) return;
  Host host(directory.path);
  write_file(directory.file("filler"), std::string(8192, 'x'));
  Status announced = host.announce("hello", endpoint("a"));
  cr_assert_eq(announced.code(), Code::resource_exhausted, "%s", announced.text().c_str());
  cr_assert_neq(announced.text().find("No space left"), std::string::npos, "%s", announced.text().c_str());
  cr_assert(files_of(directory.path, ".record").empty() && files_of(directory.path, ".tmp").empty());
  unlink(directory.file("filler").c_str());
  cr_assert(host.announce("hello", endpoint("a")).ok());
  umount2(directory.path.c_str(), MNT_DETACH);
}

Test(registry_host, recovers_when_the_trouble_is_over) {
  TempDirectory directory;
  std::string inner = directory.file("registry");
  write_file(inner, "");
  Host host(inner);
  Seen seen(*host.registry, "hello");
  cr_assert(host.until([&] { return !seen.snapshots.empty() && !seen.snapshots.back().trouble.ok(); }));
  unlink(inner.c_str());
  cr_assert(host.until([&] { return seen.snapshots.back().trouble.ok(); }));
  Process process(inner, {hello("a")});
  cr_assert(host.until_sees(seen, {"a"}));
}

Test(registry_host, refuses_addresses_that_would_break_the_record) {
  TempDirectory directory;
  Host host(directory.path);
  Endpoint bad = endpoint("a");
  bad.urls[0].host = "x\nweight: 9";
  cr_assert_eq(host.announce("hello", bad).code(), Code::invalid_argument);
  Endpoint none = endpoint("a");
  none.urls.clear();
  cr_assert_eq(host.announce("hello", none).code(), Code::invalid_argument);
  cr_assert_eq(host.announce("hello", endpoint("a.b")).code(), Code::invalid_argument);
}

// --- places ---

Test(registry_host, offers_a_unix_socket_beside_the_records_if_its_path_is_short_enough) {
  TempDirectory directory;
  Host host(directory.path);
  Result<std::optional<Url>> address = host.registry->local_address("7f");
  cr_assert(address.ok() && address->has_value());
  cr_assert((**address).text() == "unix:" + directory.path + "/7f.sock");
  Host deep(directory.file(std::string(100, 'd')));
  address = deep.registry->local_address("7f");
  cr_assert(address.ok() && !address->has_value());
  cr_assert(!host.registry->local_address("../7f").ok());
}

Test(registry_host, chooses_the_runtime_directory_if_it_is_ones_own) {
  TempDirectory directory;
  setenv("XDG_RUNTIME_DIR", directory.path.c_str(), 1);
  cr_assert(choose_host_place(*Url::parse("host:"))->path() == directory.path + "/nebula/default");
  cr_assert(choose_host_place(*Url::parse("host:?ns=test"))->path() == directory.path + "/nebula/test");
  cr_assert(choose_host_place(*Url::parse("host:?dir=/a/b&ns=test"))->path() == "/a/b/test");
  setenv("XDG_RUNTIME_DIR", directory.file("none").c_str(), 1);
  std::string usual = choose_host_place(*Url::parse("host:"))->path();
  std::string user = std::to_string(geteuid());
  cr_assert(usual == "/run/user/" + user + "/nebula/default" || usual == "/tmp/nebula-" + user + "/default");
}

Test(registry_host, makes_a_relative_directory_absolute_since_the_program_may_move) {
  TempDirectory directory;
  cr_assert_eq(chdir(directory.path.c_str()), 0);
  cr_assert(choose_host_place(*Url::parse("host:?dir=inner/"))->path() == directory.path + "/inner");
}

Test(registry_host, refuses_options_it_does_not_know) {
  for (const char* text : {"host:x", "host:?dri=/x", "host:?dir=", "host:?ns=a/b", "host:?dir=/", "host:?dir=/x/.."})
    cr_assert_eq(choose_host_place(*Url::parse(text)).status().code(), Code::invalid_argument, "%s", text);
}
