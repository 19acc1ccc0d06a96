// loop/housekeeper.h - loops that changing threads drive, and the thread that drives those that nobody polls.
//
// The loop of an inline queue is driven by whoever polls the queue. A thread that computes for seconds does not poll;
// then pings would go unanswered, and peers would take the connection for lost. So a loop that has something to do, and
// that nobody has polled for a while, is driven by the housekeeper, a turn at a time, until its poller comes back. It
// sees that a loop has something to do by the loop's descriptor, and that the poller lives by two words in memory: a
// poll makes no system call for it, and an idle loop wakes nobody.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "loop/event_fd.h"
#include "loop/uv_loop.h"

namespace nebula {

class Housekeeper;

// A loop and its driver lock. Whoever holds the lock may touch the loop and all that lives on it; others post.
class KeptLoop {
 public:
  // What the thread that polls holds meanwhile.
  class Poll {
   public:
    explicit Poll(KeptLoop& loop);
    ~Poll();

    bool is_alone() const { return is_alone_; }           // false: another thread polls, and this one drives nothing
    bool is_wanted() const { return loop_.setups_ > 0; }  // a set-up waits for the loop

   private:
    KeptLoop& loop_;
    bool is_alone_;
    std::unique_lock<std::mutex> drive_;
  };

  // What another thread holds that has something to do on the loop. Ends a poll that waits, and keeps others off.
  class Setup {
   public:
    explicit Setup(KeptLoop& loop);
    ~Setup();

   private:
    KeptLoop& loop_;
  };

  // `housekeeper` may be null: then only polls drive the loop. `has_events` tells, after a turn of the housekeeper's,
  // whether there is something for the poller to take.
  KeptLoop(UvLoop& loop, Housekeeper* housekeeper, Fn<bool()> has_events);
  ~KeptLoop();  // while nobody polls; the housekeeper is not in a turn afterwards

  // One turn that waits for nothing. False: somebody else drives.
  bool drive();
  bool is_poller() const { return poller_ == pthread_self(); }  // the calling thread was the last to poll

 private:
  friend Housekeeper;
  enum class Watch : uint8_t {
    quiet,    // until its descriptor is readable
    suspect,  // until `due`: will it be polled by then?
    driven    // until it is polled; its descriptor tells of each arrival
  };

  UvLoop& loop_;
  Housekeeper* const housekeeper_;
  Fn<bool()> has_events_;

  std::mutex lock_;
  std::condition_variable setup_over_;
  std::atomic<int> setups_{0};  // that wait for their turn or are under way; polls let them go first
  std::atomic<bool> in_poll_{false};
  std::atomic<pthread_t> poller_{};
  std::atomic<uint64_t> polls_{0};  // grows when a poll begins and when it ends

  // The housekeeper's.
  uint64_t id_ = 0;
  Watch watch_ = Watch::quiet;
  uint64_t polls_seen_ = 0;
  Time due_;
};

class Housekeeper {
 public:
  static Result<std::unique_ptr<Housekeeper>> start();
  ~Housekeeper();  // every KeptLoop has gone

 private:
  friend KeptLoop;

  Housekeeper(Fd epoll, EventFd end) : epoll_(std::move(epoll)), end_(std::move(end)) {}
  void add(KeptLoop& loop);
  void remove(KeptLoop& loop);

  void run();
  void look(KeptLoop& loop);  // its descriptor is readable
  void look_again(KeptLoop& loop, Time now);
  void suspect(KeptLoop& loop);
  void arm(KeptLoop& loop, uint32_t events);
  int wait_ms() const;

  Fd epoll_;
  EventFd end_;
  std::mutex lock_;  // of all below; held but while the thread sleeps
  std::map<uint64_t, KeptLoop*> loops_;
  uint64_t last_id_ = 0;
  bool has_ended_ = false;
  pthread_t thread_{};
};

}  // namespace nebula
