// pictures/stage.h - a service in virtual time and a client that calls it, so many times a second: what goes where.
//
// All of the real stack but the sockets. Everything follows from the seed, so a picture can be drawn again.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kit/cluster.h"

namespace nebula::pictures {

// One instance, and how it is with it.
struct Member {
  std::unique_ptr<kit::Instance> instance;
  Duration takes = ms(10);  // for a call, a fifth more or less
  uint64_t failing = 0;     // of a hundred calls, with UNAVAILABLE
  Duration fails_after;     // so long; 0: as long as it takes for others
  uint32_t weight = 1;
  std::string zone = {};
  uint64_t calls = 0;
  uint64_t next_reply = 0;
  std::map<uint64_t, std::unique_ptr<Timer>> replies = {};  // that are still to come
};

// What came of the calls that ended in a window of time, and of all that began in it.
struct Window {
  double end_s;
  uint64_t begun = 0, ended = 0, failed = 0;
  uint64_t moved = 0;           // calls that did not go where their key went at first
  double worst_ms = 0, p99_ms = 0;
  std::vector<uint64_t> calls;  // that came to each member; a retry is one more
  size_t nodes = 0;             // of the channel

  uint64_t arrived() const;
  double share(size_t member) const;  // of those that arrived, in per cent
};

class Stage {
 public:
  // `policy` as a program has it; the window is what one point of a curve stands for.
  explicit Stage(std::string policy, Duration window = ms(500)) : window_(window), policy_(std::move(policy)) {}
  ~Stage();

  Member& add(Duration takes = ms(10));  // an instance; `announce` shows it
  void add(size_t count, Duration takes = ms(10));  // the same, announced
  void announce(Member& member);
  void leave(Member& member);  // in order: from the registry first
  void stop(Member& member);   // its port is closed; the registry does not know
  void start(Member& member);  // again
  Member& member(size_t at) { return *members_[at]; }

  int calls_a_second = 400;
  size_t keys = 0;             // so many values of x-user, in turn; 0: none
  bool is_idempotent = false;

  // What happens at that second of the run.
  void at(double second, Fn<void()> deed);
  const std::vector<Window>& run(double seconds);

 private:
  struct Sent {
    kit::Call call;
    Time began;
  };

  void answer(Member& member, Request request, Reply reply);
  void send();
  void close_window();

  kit::Cluster cluster_;
  const Duration window_;
  const std::string policy_;
  std::vector<std::unique_ptr<Member>> members_;
  std::unique_ptr<Channel> channel_;
  std::list<Sent> sent_;
  std::vector<std::unique_ptr<Timer>> deeds_;
  std::map<std::string, Member*> homes_;  // where each key went at first
  std::vector<double> took_ms_;           // of this window's calls
  std::vector<Window> windows_;
  Window window_now_;
  Time began_;
  uint64_t number_ = 0;
};

}  // namespace nebula::pictures
