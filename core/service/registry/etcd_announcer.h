// service/registry/etcd_announcer.h - EtcdAnnouncer: what this program has announced in an etcd, kept there.
//
// One lease holds all of it, and is renewed as long as the program lives. Where the lease has ended meanwhile, for the
// way to etcd was lost or etcd its memory, all is announced anew. Lives on one loop.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "loop/anchor.h"
#include "loop/loop.h"
#include "service/registry/etcd_api.h"

namespace nebula {

class EtcdAnnouncer final : ConversationEvents {
 public:
  EtcdAnnouncer(const EtcdPlace& place, const Env& env);
  ~EtcdAnnouncer();

  // Answers when etcd has it; already_exists if we have announced that key. A failure then is the answer; later ones are
  // made good.
  void add(std::string key, std::string value, Done<bool> done);
  // Another value for a key that was added. Answers when etcd has it; after a failure it has it later.
  void change(const std::string& key, std::string value, Done<bool> done);
  void remove(const std::string& key);

 private:
  struct Announced {
    std::string value;
    Done<bool> done;     // of `add`; empty: answered
    Done<bool> changed;  // of `change`
    bool is_on_the_way = false;
    bool is_another = false;  // what is on the way is not the value any more
  };

  void begin();
  void renew();
  void hold();
  void send(std::string key);  // what there is to say of it, when it is its turn
  void send_next();
  void on_sent();              // and answered
  void put(const std::string& key);
  void take_away(const std::string& key);
  void fail(Status why);
  Status unreachable(std::string_view why) const;
  void leave();  // the connection
  void on_message(Bytes message) override;
  void on_end(Status why) override { fail(std::move(why)); }

  const EtcdPlace& place_;
  Env env_;
  std::unique_ptr<EtcdApi> api_;
  std::unique_ptr<Conversation> renewals_;
  std::unique_ptr<Timer> renew_timer_, retry_timer_;
  Duration backoff_ = limits::etcd_backoff_first;
  int64_t lease_ = 0;
  bool holds_ = false;                            // the lease is known to live
  uint64_t attempt_ = 0;                          // counts; what is answered to an earlier one is not heard
  std::map<std::string, Announced> announced_;    // by key
  std::set<std::string> withdrawn_;               // keys that etcd may still have
  std::deque<std::string> to_send_;               // keys
  size_t under_way_ = 0;                          // of them, until they are answered
  Anchor<EtcdAnnouncer> anchor_{*this};
};

}  // namespace nebula
