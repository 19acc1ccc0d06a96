// service/registry/etcd_api.h - the calls of etcd's v3 API that a registry makes, as plain values.
//
// Over our own client: an etcd is a gRPC server like any other. Messages are packed here and nowhere else. Lives on one
// loop; to destroy it ends what is asked: answers are `unavailable` then.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/driver.h"
#include "base/limits.h"
#include "rpc/client.h"
#include "service/channel.h"

namespace nebula {

// Where it is, and where in it.
struct EtcdPlace {
  std::vector<std::string> addresses;  // "tcp://10.0.0.5:2379", of one etcd
  std::optional<TlsOptions> tls;       // of tls: ones
  std::string directory;               // "/nebula/"
  Duration lease = limits::etcd_lease;  // how long what is announced outlives its program

  std::string end() const { return directory.substr(0, directory.size() - 1) + '0'; }  // '0' is what follows '/'
};

class EtcdApi {
 public:
  struct Pair {
    std::string key, value;
  };
  struct Page {
    std::vector<Pair> pairs;
    int64_t revision = 0;  // of the whole store, when it was looked at
    bool has_more = false;
  };
  struct Change {
    std::string key;
    std::optional<std::string> value;  // none: it has gone
  };
  struct Changes {
    std::vector<Change> changes;
    int64_t revision = 0;
    std::optional<Status> ended;  // etcd has given the watch up; what it misses is not told
  };

  static Result<std::unique_ptr<EtcdApi>> open(const Env& env, const EtcdPlace& place);

  // Keys from `from` to before `to`, at most so many; revision 0: the newest.
  void range(std::string_view from, std::string_view to, int64_t revision, Done<Page> done);
  void put(std::string_view key, std::string_view value, int64_t lease, Done<bool> done);
  void remove(std::string_view key, Done<bool> done);
  void grant(Duration life, Done<int64_t> done);  // a lease
  void compact(int64_t revision, Done<bool> done);  // forgets older changes; for tests, and who operates an etcd

  // Both are streams; their messages are read with the functions below.
  std::unique_ptr<Conversation> watch(std::string_view from, std::string_view to, int64_t revision, ConversationEvents& up);
  std::unique_ptr<Conversation> keep_alive(ConversationEvents& up);
  static Bytes keep_alive_request(int64_t lease);
  static Result<Changes> changes_of(const Bytes& message);
  static Result<Duration> life_of(const Bytes& message);  // what a lease has left; 0: it is gone

 private:
  EtcdApi(const Env& env, std::unique_ptr<Registry> list, std::unique_ptr<Channel> channel);

  void tell(const Method& method, Bytes message, Done<bool> done);  // whose answer says nothing more

  Loop& loop_;
  std::unique_ptr<Registry> list_;
  std::unique_ptr<Channel> channel_;
};

}  // namespace nebula
