// kit/etcd.h - a real etcd, of this test alone: started, killed, stopped, started again.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "kit/registry_world.h"
#include "kit/world.h"
#include "service/registry/registry.h"

namespace nebula::kit {

class EtcdProcess {
 public:
  static bool is_installed();

  EtcdProcess();   // started, and it answers
  ~EtcdProcess();

  void kill();     // -9
  void start();    // again, with what it knew, at the same address
  void forget();   // while it is killed: all that it knew
  void pause();    // SIGSTOP
  void go_on();

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  TempDirectory directory_;
  int port_, peers_port_;
  pid_t pid_ = -1;
};

// Has such a key, or has it no more, when this returns.
void put(const EtcdProcess& etcd, RealWorld& world, const std::string& key, const std::optional<std::string>& value);

// Its registry in that world, with leases of two seconds.
std::unique_ptr<Registry> open_etcd(const EtcdProcess& etcd, RealWorld& world);

}  // namespace nebula::kit
