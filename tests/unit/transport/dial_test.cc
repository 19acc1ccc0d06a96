// unit/transport/dial_test.cc - which of several addresses a dial ends at (RFC 8305).
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "kit/conns.h"
#include "transport/socket_dial.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// A listening socket of the test's own at a free port of the loopback.
struct Door {
  explicit Door(int backlog) : socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    address = *SocketAddress::numeric("127.0.0.1", 0);
    cr_assert_eq(::bind(socket.get(), address.get(), address.size), 0);
    if (backlog >= 0) cr_assert_eq(::listen(socket.get(), backlog), 0);
    address = SocketAddress::local(socket.get());
  }
  bool has_visitor() { return static_cast<bool>(Fd(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC))); }

  Fd socket;
  SocketAddress address;
};

// Nobody ever answers here: the queue of connections that wait to be accepted is full.
struct Silence : Door {
  Silence() : Door(0) {
    for (int i = 0; i < 4; i++) {
      crowd.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      ::connect(crowd.back().get(), address.get(), address.size);
    }
  }
  std::vector<Fd> crowd;
};

struct Refusal : Door {
  Refusal() : Door(-1) {}
};

struct Dialled {
  explicit Dialled(std::vector<SocketAddress> addresses) : began(world.loop.now()) {
    dials.dial(url("tcp://host:1"), std::move(addresses), [this](Result<std::unique_ptr<Conn>> conn) {
      error = conn.status();
      if (conn.ok()) address = (*conn)->peer().address;
      took = world.loop.now() - began;
    });
    cr_assert(!error, "the answer came inside the verb");
    cr_assert(world.run_until([&] { return error.has_value(); }, sec(60)));
  }

  RealWorld world;
  SocketDials dials{world.loop};
  Time began;
  Duration took;
  std::optional<Status> error;
  std::string address;
};

}  // namespace

Test(dial, lets_the_families_take_turns) {
  std::vector<SocketAddress> addresses;
  for (const char* host : {"::1", "::2", "::3", "127.0.0.1", "127.0.0.2"})
    addresses.push_back(*SocketAddress::numeric(host, 1));
  std::string order;
  for (const SocketAddress& address : interleaved(addresses)) order += address.url().host + " ";
  cr_assert(order == "::1 127.0.0.1 ::2 127.0.0.2 ::3 ", "%s", order.c_str());
  cr_assert(interleaved({}).empty());
}

Test(dial, takes_the_first_address_if_it_answers) {
  Door first(8), second(8);
  Dialled dial({first.address, second.address});
  cr_assert(dial.error->ok());
  cr_assert_lt(dial.took.ms(), 200);
  cr_assert(first.has_visitor() && !second.has_visitor());
}

Test(dial, does_not_wait_for_an_address_that_does_not_answer) {
  Silence first;
  Door second(8), third(8);
  Dialled dial({first.address, second.address, third.address});
  cr_assert(dial.error->ok(), "%s", dial.error->text().c_str());
  cr_assert_geq(dial.took.ms(), limits::dial_stagger.ms() - 1);
  cr_assert_lt(dial.took.ms(), 2 * limits::dial_stagger.ms());
  cr_assert(second.has_visitor() && !third.has_visitor());
}

Test(dial, goes_on_at_once_when_an_address_refuses) {
  Refusal first, second;
  Door third(8);
  Dialled dial({first.address, second.address, third.address});
  cr_assert(dial.error->ok());
  cr_assert_lt(dial.took.ms(), 200);
}

Test(dial, still_takes_a_slow_address_when_the_others_have_failed) {
  Silence slow;
  Refusal refusal;
  RealWorld world;
  SocketDials dials(world.loop);
  std::optional<Status> error;
  dials.dial(url("tcp://host:1"), {slow.address, refusal.address},
             [&](Result<std::unique_ptr<Conn>> conn) { error = conn.status(); });
  std::unique_ptr<Timer> later = world.loop.after(limits::dial_stagger * 2, [&] {
    cr_assert(!error, "the refusal of one is not the end of the other");
    slow.crowd.clear();
    while (slow.has_visitor()) continue;  // now there is room, and the system tries again by itself
  });
  cr_assert(world.run_until([&] { return error.has_value(); }, sec(15)));
  cr_assert(error->ok(), "%s", error->text().c_str());
}

Test(dial, says_why_the_last_address_failed) {
  Refusal first, second;
  Dialled dial({first.address, second.address});
  std::string text = dial.error->text();
  cr_assert(text == "UNAVAILABLE: dial tcp://host:1: connection refused", "%s", text.c_str());
  Dialled none({});
  text = none.error->text();
  cr_assert(text == "UNAVAILABLE: dial tcp://host:1: the name has no address", "%s", text.c_str());
}

Test(dial, may_be_given_up_while_several_attempts_run) {
  Silence first, second;
  RealWorld world;
  std::optional<Status> error;
  {
    SocketDials dials(world.loop);
    dials.dial(url("tcp://host:1"), {first.address, second.address},
               [&](Result<std::unique_ptr<Conn>> conn) { error = conn.status(); });
    bool is_late = false;
    std::unique_ptr<Timer> later = world.loop.after(limits::dial_stagger + ms(50), [&] { is_late = true; });
    cr_assert(world.run_until([&] { return is_late; }));
  }
  cr_assert(error && error->message().find("given up") != std::string_view::npos);
}
