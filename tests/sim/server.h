// sim/server.h - one simulated server process: a Server, its announcement, and handlers that do as the calls wish.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "rpc/server.h"
#include "sim/ground.h"
#include "sim/stream.h"

namespace nebula::sim {

class ServerProcess final : private Service {
 public:
  ServerProcess(Ground& ground, std::string service, int instance);
  ~ServerProcess() override;  // kill -9: connections are cut, what handlers hold is gone

  // Leaves the registry's list and comes back under another id, from now on with the faultless address or not.
  void announce(bool is_clean);

  // The three ways to stop before being destroyed. Each takes it out of the list.
  std::unique_ptr<Lease> die();                     // what a registry that has not noticed still holds
  void drain(Duration wait, Duration listed, Fn<void()> then);  // withdrawn so much later, as seen by slow registries
  void close();                                     // the Server goes; its handlers go on

  // Nothing is answered any more.
  void freeze();

  // A crash and a restart that the registry does not see, as with addresses that never change.
  void crash();
  void come_back(int instance);

  const std::string& service() const { return service_; }
  int instance() const { return instance_; }
  const std::string& listed_id() const { return listed_id_; }
  bool has_renewed() const { return announcements_ > 1; }
  size_t session_count() const { return server_ == nullptr ? 0 : server_->session_count(); }
  bool is_idle() const { return works_.empty(); }

 private:
  // A call that a handler has not answered, or of which it still takes requests.
  struct Work {
    Call& call;
    Reply reply;
    Bytes message;
    std::unique_ptr<Taker> taker;  // of its requests
    std::unique_ptr<Timer> timer;
  };

  void call(Request request, Reply reply) override;
  void on_requests_over(Call& call, Ending* ending);
  void on_cancelled(Call& call);
  void go_on(Call& call);  // it has all that it needs for an answer
  void answer_after(Call& call, Duration wait);
  void answer(Call& call);
  void forget(Call& call);
  void on_announced(std::unique_ptr<Lease> lease);
  void withdraw();
  void go_down();
  void listen();
  void lose();

  Process process_;
  Ground& ground_;
  const std::string service_;
  int instance_;                                    // another one after a crash
  const std::string name_;
  std::map<uint64_t, Work> works_;
  Router router_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Lease> lease_;
  std::unique_ptr<Timer> withdraw_timer_;
  std::string listed_id_;
  int announcements_ = 0;
  bool is_frozen_ = false;
  bool is_up_ = false;                              // as the ledger knows
  Anchor<ServerProcess> anchor_{*this};
};

}  // namespace nebula::sim
