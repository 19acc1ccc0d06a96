// service/registry/etcd.h - EtcdRegistry: what stands in an etcd, for services on many hosts.
//
//   etcd://10.0.0.5:2379                                        what stands under /nebula
//   etcd://10.0.0.5:2379/prod?more=10.0.0.6:2379,10.0.0.7:2379  under /prod; further members of the same etcd
//   etcd://etcd.example:2379?ca=ca.pem                          over TLS, with options as tls: has them
//   etcd://10.0.0.5:2379?lease=5                                what a killed program announced goes after 5 s, not 15
//
// An instance is a key, /nebula/<service>/<instance>, whose value is a Record; a policy is one, too: /nebula/.policy/<name>,
// which no service can be called. Lives on one loop.
#pragma once

#include <memory>

#include "loop/anchor.h"
#include "service/registry/etcd_announcer.h"
#include "service/registry/etcd_view.h"
#include "service/registry/policy_texts.h"
#include "service/registry/watchers.h"

namespace nebula {

class EtcdRegistry final : public Registry, Watchers::Source {
 public:
  EtcdRegistry(EtcdPlace place, const Env& env);

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override;
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override;
  bool keeps_policies() const override { return true; }
  std::unique_ptr<Watch> watch_kept_policy(std::string_view name, OnPolicy on_policy) override;

 private:
  class EtcdLease;

  void start();  // who is new hears what is known already; if nothing is, the view's first word
  void tell(const Changes& changes);
  Snapshot snapshot(std::string_view service) override;

  const EtcdPlace place_;
  Loop& loop_;
  Watchers watchers_;
  PolicyTexts policies_;
  EtcdView view_;
  EtcdAnnouncer announcer_;
  Anchor<EtcdRegistry> anchor_{*this};
};

}  // namespace nebula
