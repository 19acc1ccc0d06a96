// transport/network.h - every transport, by URL. One Network per loop; what fault and registries dial with.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/driver.h"
#include "transport/transport.h"

namespace nebula {

class MemHub;  // transport/mem.h: where the ends of mem: connections find each other

class Network {
 public:
  // References outlive the Network. A driver's transport is opened on first use of its scheme and kept.
  Network(Loop& loop, Log& log, Random& random, const DriverTable<Transport>& drivers, MemHub& hub);
  ~Network();

  Result<std::unique_ptr<Listener>> listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn);
  void dial(const Url& to, Done<std::unique_ptr<Conn>> done);

  Env env() { return {loop_, *this, log_, random_}; }
  MemHub& hub() { return hub_; }

 private:
  Result<Transport*> transport(const Url& url);

  Loop& loop_;
  Log& log_;
  Random& random_;
  const DriverTable<Transport>& drivers_;
  MemHub& hub_;
  std::vector<std::pair<std::string, std::unique_ptr<Transport>>> open_;
};

}  // namespace nebula
