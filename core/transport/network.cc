// transport/network.cc - finds the transport of an address, opening it on first use.
#include "transport/network.h"

#include "loop/loop.h"

namespace nebula {

Network::Network(Loop& loop, Log& log, Random& random, const DriverTable<Transport>& drivers, MemHub& hub)
    : loop_(loop), log_(log), random_(random), drivers_(drivers), hub_(hub) {}

// Last opened, first gone: a decorator is opened before what it dials with, and its dials end while it is still there.
Network::~Network() {
  while (!open_.empty()) {
    std::unique_ptr<Transport> transport = std::move(open_.back().second);
    open_.pop_back();
  }
}

Result<std::unique_ptr<Listener>> Network::listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn) {
  TRY(Transport* transport, this->transport(at));
  return transport->listen(at, std::move(on_conn));
}

void Network::dial(const Url& to, Done<std::unique_ptr<Conn>> done) {
  Result<Transport*> found = transport(to);
  if (found.ok()) return (*found)->dial(to, std::move(done));
  loop_.later([why = found.status(), done = std::move(done)]() mutable { done(std::move(why)); });
}

Result<Transport*> Network::transport(const Url& url) {
  for (const auto& [scheme, transport] : open_)
    if (scheme == url.scheme) return transport.get();
  TRY(std::unique_ptr<Transport> opened, drivers_.open(url, env()));
  open_.emplace_back(url.scheme, std::move(opened));
  return open_.back().second.get();
}

}  // namespace nebula
