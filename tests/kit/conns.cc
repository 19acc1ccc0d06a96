// kit/conns.cc - one connection, from both sides.
#include "kit/conns.h"

namespace nebula::kit {

void connect(Network& network, Pair& pair, const Url& at, std::optional<Url> to) {
  Result<std::unique_ptr<Listener>> listener = network.listen(
      at, [&pair](std::unique_ptr<Conn> conn) { pair.server = std::make_unique<End>(std::move(conn)); });
  NEBULA_ASSERT(listener.ok());
  pair.listener = std::move(*listener);
  network.dial(to ? *to : pair.listener->url(), [&pair](Result<std::unique_ptr<Conn>> conn) {
    if (!conn.ok()) {
      pair.error = conn.status();
    } else {
      pair.client = std::make_unique<End>(std::move(*conn));
    }
  });
}

}  // namespace nebula::kit
