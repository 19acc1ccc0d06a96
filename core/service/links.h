// service/links.h - the connections of one node: one as a rule, and more where its peer takes few calls on each.
//
// Calls go to the one with the fewest. Those that the calls of a while had no need of get none any more, and are closed
// when they have ended; the oldest stays. Owned by the node, on its loop.
#pragma once

#include <memory>
#include <vector>

#include "service/link.h"

namespace nebula {

class Links {
 public:
  explicit Links(Loop& loop) : loop_(loop) {}

  bool empty() const { return open_.empty(); }
  bool all_gone() const { return open_.empty() && leaving_.empty(); }
  bool holds(const Link& link) const;  // for new calls
  Link* oldest() const { return open_.empty() ? nullptr : open_.front().get(); }
  // Each has as many calls as its peer says that it takes, and there may be one more.
  bool want_more() const;
  Time idle_since() const;  // never(): a call runs; the beginning of time: there is none
  // A call that began then has ended, and not by the peer's word: those that were silent since are asked.
  void on_call_lost(Time began);

  // For the next call; it may turn out to take none. null: all have done so.
  Link* pick() { return only_ != nullptr ? only_ : pick_of_several(); }
  // The same, after one has said why it takes no call.
  Link* pick_instead(Link& link, Code why);

  void add(std::unique_ptr<Link> link);
  void leave(Link& link);  // takes no new calls, and has still to end
  void drop(Link& link);   // it has ended
  void drain();            // those for new calls take none any more, and end with their last one
  void cut();              // all

 private:
  Link* pick_of_several();
  size_t call_count() const;
  std::unique_ptr<Link> take(Link& link);
  void look_later();
  void look();

  Loop& loop_;
  Link* only_ = nullptr;                        // for new calls; null: there are several, or none
  std::vector<std::unique_ptr<Link>> open_;     // for new calls, the oldest first
  std::vector<std::unique_ptr<Link>> leaving_;  // finishing their calls
  std::vector<std::unique_ptr<Link>> gone_;     // until the next step
  size_t used_ = 0;                             // of the oldest; the others only where these are full
  size_t most_ = 0;                             // calls at a time, since the last look
  size_t room_ = SIZE_MAX;                      // for calls, on the one that was full last
  std::unique_ptr<Timer> timer_;                // while there are several
  Anchor<Links> anchor_{*this};
};

}  // namespace nebula
