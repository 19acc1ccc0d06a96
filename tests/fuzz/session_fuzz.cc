// fuzz/session_fuzz.cc - a server and a client that are told anything at all, over a connection in virtual time.
//
// Whatever comes, each call is answered once, and when the connection has gone nothing is left (LeakSanitizer).
#include <cstdlib>

#include "input.h"
#include "kit/calls.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// A frame with an honest length, so that the fuzzer gets past the first nine bytes.
std::string frame(fuzz::Input* input) {
  char type = static_cast<char>(input->byte() % 11), flags = static_cast<char>(input->byte());
  char stream = static_cast<char>(input->byte() % 8);
  std::string_view payload = input->take(input->byte());
  std::string text = {0, 0, static_cast<char>(payload.size()), type, flags, 0, 0, 0, stream};
  return text.append(payload);
}

// Says what the input holds, as frames or as it is, piece by piece, and hangs up.
void speak(SimWorld& world, End& end, fuzz::Input input) {
  bool is_framed = input.byte() % 4 != 0;
  while (!input.empty() && !end.closed) {
    end.write(is_framed ? frame(&input) : std::string(input.take(1 + input.byte())));
    world.loop.run_for(us(10));
  }
  world.loop.run_for(sec(1));
  end.conn.reset();
  world.loop.run_for(ms(10));
}

void attack_server(fuzz::Input input) {
  ServerWorld world;
  std::unique_ptr<End> end;
  world.world.network.dial(url("mem:hello"), [&](Result<std::unique_ptr<Conn>> conn) {
    end = std::make_unique<End>(std::move(*conn));
  });
  world.settle();
  if (input.byte() % 8 != 0) end->write(std::string(preface) + std::string("\0\0\0\4\0\0\0\0\0", 9));
  speak(world.world, *end, input);
  if (!world.lives()) abort();  // another client's connection is not touched
}

void attack_client(fuzz::Input input) {
  SimWorld world;
  std::unique_ptr<End> end;
  std::unique_ptr<Listener> listener = std::move(*world.network.listen(
      url("mem:x"), [&](std::unique_ptr<Conn> conn) { end = std::make_unique<End>(std::move(conn)); }));
  SessionEnd client;
  world.network.dial(url("mem:x"), [&](Result<std::unique_ptr<Conn>> conn) {
    client.start(world.loop, std::move(*conn), false);
  });
  world.loop.run_for(ms(1));
  Call calls[3] = {Call("/a/b"), Call("/a/c"), Call("/a/d", std::string(70'000, 'x'))};
  for (Call& call : calls) {
    Request request = call.request();
    Reply reply = call.reply();
    if (!start_client_call({world.loop, *client.session, "a", 1000}, request, reply).ok()) abort();
  }
  world.loop.run_for(ms(1));
  if (input.byte() % 8 != 0) end->write(std::string("\0\0\0\4\0\0\0\0\0", 9));
  speak(world, *end, input);
  client.session.reset();
  world.loop.run_for(ms(10));
  for (Call& call : calls)
    if (call.answers != 1) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  (input.byte() % 2 == 0 ? attack_server : attack_client)(input);
  return 0;
}
