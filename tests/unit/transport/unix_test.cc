// unit/transport/unix_test.cc - real sockets in a directory of their own.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/limits.h"
#include "kit/conns.h"
#include "transport/socket_address.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

class Directory {
 public:
  Directory() {
    char name[] = "/tmp/nebula-test-XXXXXX";
    cr_assert_not_null(::mkdtemp(name));
    path_ = name;
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Url url(const std::string& name) const { return kit::url("unix:" + path_ + "/" + name); }

 private:
  std::string path_;
};

Result<std::unique_ptr<Listener>> listen(RealWorld& world, const Url& at) {
  return world.network.listen(at, [](std::unique_ptr<Conn>) {});
}

Status dial_error(RealWorld& world, const Url& to) {
  std::optional<Status> error;
  world.network.dial(to, [&error](Result<std::unique_ptr<Conn>> conn) { error = conn.status(); });
  cr_assert(not error.has_value(), "the answer came inside the verb");
  cr_assert(world.run_until([&] { return error.has_value(); }));
  return *error;
}

bool exists(const Url& url) { return std::filesystem::exists(std::filesystem::symlink_status(url.path)); }

}  // namespace

Test(unix_socket, carries_bytes_and_names_the_peer) {
  Directory directory;
  RealWorld world;
  Pair pair;
  connect(world.network, pair, directory.url("a.sock"));
  cr_assert(world.run_until([&] { return pair.is_up(); }));
  pair.client->write("hello");
  pair.server->write("welcome");
  cr_assert(world.run_until([&] { return pair.server->received == "hello" && pair.client->received == "welcome"; }));
  for (End* end : {pair.client.get(), pair.server.get()}) {
    cr_assert_eq(end->conn->peer().uid, static_cast<int64_t>(::getuid()));
    cr_assert_eq(end->conn->peer().pid, static_cast<int64_t>(::getpid()));
  }
  cr_assert_eq(pair.client->conn->peer().address, directory.url("a.sock").text());
  cr_assert_eq(pair.server->conn->peer().address, "unix:");
}

Test(unix_socket, is_for_its_user_alone) {
  Directory directory;
  RealWorld world;
  Result<std::unique_ptr<Listener>> listener = listen(world, directory.url("a.sock"));
  struct stat file{};
  cr_assert_eq(::stat(directory.url("a.sock").path.c_str(), &file), 0);
  cr_assert_eq(file.st_mode & 0777, 0600);
}

Test(unix_socket, takes_its_path_away) {
  Directory directory;
  RealWorld world;
  Url at = directory.url("a.sock");
  {
    Result<std::unique_ptr<Listener>> listener = listen(world, at);
    cr_assert(exists(at));
  }
  cr_assert(not exists(at));
}

Test(unix_socket, leaves_a_path_that_is_another_ones_by_now) {
  Directory directory;
  RealWorld world;
  Url at = directory.url("a.sock");
  Result<std::unique_ptr<Listener>> first = listen(world, at);
  ::unlink(at.path.c_str());
  Result<std::unique_ptr<Listener>> second = listen(world, at);
  cr_assert(second.ok());
  first = cancelled("gone");
  cr_assert(exists(at));
}

Test(unix_socket, is_shared_with_other_loops) {
  Directory directory;
  RealWorld first, second;
  std::unique_ptr<Listener> listener = std::move(*listen(first, directory.url("a")));
  bool accepted = false;
  Result<std::unique_ptr<Listener>> other =
      second.network.listen(listener->share(), [&](std::unique_ptr<Conn>) { accepted = true; });
  cr_assert(other.ok(), "%s", other.status().text().c_str());
  second.network.dial(directory.url("a"), [](Result<std::unique_ptr<Conn>>) {});
  for (int turns = 0; !accepted && turns < 100; turns++) second.loop.run_once(ms(100));
  cr_assert(accepted);
  other->reset();
  cr_assert(std::filesystem::exists(directory.url("a").path), "the first one's path");
}

Test(unix_socket, shares_only_what_listens) {
  Directory directory;
  RealWorld world;
  for (const char* descriptor : {"", "x", "0", "99999"}) {
    Url at = directory.url("a");
    at.set_option("share", descriptor);
    cr_assert(listen(world, at).status().code() == Code::invalid_argument, "share=%s", descriptor);
  }
}

Test(unix_socket, refuses_a_taken_path) {
  Directory directory;
  RealWorld world;
  Url at = directory.url("a.sock");
  Result<std::unique_ptr<Listener>> first = listen(world, at);
  Status error = listen(world, at).status();
  cr_assert_eq(error.code(), Code::already_exists);
  cr_assert(error.message().starts_with("listen " + at.text() + ": the path is taken; "));
}

Test(unix_socket, replaces_a_file_that_a_dead_process_left) {
  Directory directory;
  RealWorld world;
  Url at = directory.url("a.sock");
  int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SocketAddress address = SocketAddress::unix_path(at.path);
  cr_assert_eq(::bind(dead, address.get(), address.size), 0);
  ::listen(dead, 1);
  ::close(dead);
  Pair pair;
  connect(world.network, pair, at);
  cr_assert(world.run_until([&] { return pair.is_up(); }));
}

Test(unix_socket, does_not_replace_what_is_no_socket) {
  Directory directory;
  RealWorld world;
  Url at = directory.url("precious.txt");
  ::close(::creat(at.path.c_str(), 0600));
  cr_assert_eq(listen(world, at).status().code(), Code::already_exists);
  cr_assert(exists(at));
}

Test(unix_socket, says_how_long_a_path_may_be) {
  Directory directory;
  RealWorld world;
  Url longest = directory.url("");
  longest.path.append(limits::unix_path_max - longest.path.size(), 'x');
  Pair pair;
  connect(world.network, pair, longest);
  cr_assert(world.run_until([&] { return pair.is_up(); }));
  Url too_long = longest;
  too_long.path.append("x");
  cr_assert_eq(listen(world, too_long).status().message(),
               "listen " + too_long.text() + ": the path has 108 bytes, and a socket's may have 107");
  cr_assert_eq(dial_error(world, too_long).code(), Code::invalid_argument);
  cr_assert_eq(dial_error(world, url("unix:")).code(), Code::invalid_argument);
}

Test(unix_socket, says_why_a_dial_failed) {
  Directory directory;
  RealWorld world;
  Url to = directory.url("nobody.sock");
  cr_assert_eq(dial_error(world, to).text(), "UNAVAILABLE: dial " + to.text() + ": no such file or directory");
}

Test(unix_socket, closes_in_order_and_by_reset) {
  Directory directory;
  RealWorld world;
  Pair pair;
  connect(world.network, pair, directory.url("a.sock"));
  cr_assert(world.run_until([&] { return pair.is_up(); }));
  pair.client->write("bye");
  pair.client.reset();
  cr_assert(world.run_until([&] { return pair.server->closed.has_value(); }));
  cr_assert(pair.server->closed->ok());
  cr_assert_eq(pair.server->received, "bye");

  Pair unread;
  connect(world.network, unread, directory.url("b.sock"));
  cr_assert(world.run_until([&] { return unread.is_up(); }));
  unread.server->conn->pause(true);
  unread.client->write("unread");
  world.run_turns(2);
  unread.server.reset();
  cr_assert(world.run_until([&] { return unread.client->closed.has_value(); }));
  cr_assert_eq(unread.client->closed->code(), Code::unavailable);
}

Test(unix_socket, waits_for_room_in_a_full_backlog) {
  Directory directory;
  RealWorld world;
  Url at = directory.url("a.sock");
  Fd slow(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketAddress address = SocketAddress::unix_path(at.path);
  cr_assert_eq(::bind(slow.get(), address.get(), address.size), 0);
  cr_assert_eq(::listen(slow.get(), 0), 0);
  std::vector<std::unique_ptr<Conn>> conns;
  for (int i = 0; i < 4; i++) {
    world.network.dial(at, [&](Result<std::unique_ptr<Conn>> conn) {
      cr_assert(conn.ok(), "%s", conn.status().text().c_str());
      conns.push_back(std::move(*conn));
    });
  }
  world.run_turns(3);
  cr_assert_lt(conns.size(), 4);
  std::vector<Fd> accepted;
  cr_assert(world.run_until([&] {
    accepted.emplace_back(::accept4(slow.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return conns.size() == 4;
  }));
}
