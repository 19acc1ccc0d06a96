// sim/nodes.h - one program over many nodes that fail, hang, slow down, go and come back; and the rules of its policy.
//
// Beside World, which is about what networks and processes do to calls, this is about who gets them: it draws a policy
// as a program would write it. Everything follows from the seed.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kit/cluster.h"
#include "service/commons.h"

namespace nebula::sim {

// What one run will be like.
struct NodesPlan {
  static NodesPlan draw(uint64_t seed);
  std::string text() const;

  uint64_t seed = 0;
  size_t nodes = 2;
  std::string policy;
  double isolated_max = 0.5;     // share of the nodes, that the policy allows
  double budget = 0.1;           // retries for each call
  bool spreads = true;           // every node gets calls when all are well
  Duration pause;                // about so long between two calls
  Duration fault_phase;
  Duration timeout;              // of calls that have one
  bool all_fail = false;         // for the whole fault phase
  bool is_deaf = false;          // nodes hang, and go away, too
  size_t queues = 1;             // of the program, with a channel of its own each
  bool has_one_culprit = false;  // all that goes wrong is one node's doing
};

class NodesWorld {
 public:
  explicit NodesWorld(const NodesPlan& plan);

  // What broke a rule; empty: nothing did.
  std::vector<std::string> run();

 private:
  enum class Mood { well, failing, slow, hanging, gone };
  struct Node {
    std::unique_ptr<kit::Instance> instance;
    Mood mood = Mood::well;
    int runs = 0;
  };
  struct Asked {
    std::unique_ptr<kit::Call> call;
    Time deadline = Time::never();
    int runs = 0;
  };

  void handle(Node& node, Request request, Reply reply);
  void set_mood(Node& node, Mood mood);
  void suffer_on();
  void call(Channel& channel);
  Channel& any_channel() { return *channels_[random_.below(channels_.size())]; }
  void run_for(Duration length);
  void look();
  void look_at(Channel& channel);
  void look_at_what_they_share();
  void violation(std::string what);

  const NodesPlan plan_;
  Random random_;
  kit::Cluster cluster_;
  std::vector<Node> nodes_;
  Commons commons_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::map<const Channel*, uint64_t> found_;  // nodes that it has left alone by itself, so far
  std::map<uint64_t, Asked> asked_;
  std::map<uint64_t, std::unique_ptr<Timer>> timers_;  // of slow handlers
  std::map<uint64_t, Reply> held_;                     // by handlers that hang, or are slow
  uint64_t next_held_ = 1;
  uint64_t runs_ = 0;
  bool must_succeed_ = false;
  std::vector<std::string> violations_;
};

}  // namespace nebula::sim
