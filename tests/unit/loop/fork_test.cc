// unit/loop/fork_test.cc - what a fork child keeps.
#include "loop/fork.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/conns.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

// The child answers with its exit code and runs nothing else.
template <class Check>
bool in_child(Check check) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(check() ? 0 : 1);
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

Test(fork, closes_what_is_registered_and_nothing_else) {
  int plain = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  int known = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  int taken_back = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  int high = ::fcntl(known, F_DUPFD_CLOEXEC, 900);
  close_in_child(known);
  close_in_child(high);
  close_in_child(taken_back);
  keep_in_child(taken_back);
  cr_assert(in_child([&] { return is_open(plain) && !is_open(known) && !is_open(high) && is_open(taken_back); }));
  cr_assert(is_open(known) && is_open(high), "the parent keeps all");
  for (int fd : {plain, known, taken_back, high}) {
    keep_in_child(fd);
    ::close(fd);
  }
}

Test(fork, counts_generations) {
  uint64_t before = fork_generation();
  cr_assert(in_child([&] { return fork_generation() > before; }) || before == fork_generation());
  Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  cr_assert(in_child([&] { return fork_generation() == before + 1; }));
  cr_assert_eq(fork_generation(), before);
}

Test(fork, closes_no_stranger_through_the_childs_copy_of_an_owner) {
  Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  cr_assert(in_child([&] {
    int stranger = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (stranger != fd.get()) return false;
    fd.reset();
    return is_open(stranger);
  }));
}

Test(fork, leaves_no_listener_and_no_connection_to_the_child) {
  RealWorld world;
  Pair pair;
  connect(world.network, pair, url("tcp://127.0.0.1:0"));
  cr_assert(world.run_until([&] { return pair.is_up(); }));
  int go[2];
  cr_assert_eq(::pipe2(go, O_CLOEXEC), 0);
  pid_t child = ::fork();
  if (child == 0) {
    ::close(go[1]);
    char byte;
    ::_exit(::read(go[0], &byte, 1) == 0 ? 0 : 1);  // stays until the parent has seen all
  }
  ::close(go[0]);
  // The peer sees the end at once although the child lives, and the port is free.
  pair.client.reset();
  cr_assert(world.run_until([&] { return pair.server->closed.has_value(); }));
  Url at = pair.listener->url();
  pair.server.reset();
  pair.listener.reset();
  cr_assert(world.network.listen(at, [](std::unique_ptr<Conn>) {}).ok());
  ::close(go[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  cr_assert_eq(status, 0);
}

Test(fork, lets_the_parents_loop_go_on_and_the_childs_copy_be_destroyed) {
  std::unique_ptr<UvLoop> loop = std::move(*UvLoop::make());
  cr_assert(in_child([&] {
    loop.reset();
    return true;
  }));
  bool ran = false;
  loop->post([&] { ran = true; });
  pollfd ready{loop->fd(), POLLIN, 0};
  cr_assert_eq(::poll(&ready, 1, 0), 1);
  loop->run_once({});
  cr_assert(ran);
}
