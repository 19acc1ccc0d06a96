// base/metrics.h - what is counted on one loop: calls of clients and servers, nodes; durations in histograms.
//
// Owned by the loop and touched by whoever runs it, so there are no atomics: to read is to ask each loop for a Snapshot,
// plain values, and to add them up. Only grows, and by names only up to limits::metrics_methods_max. What names mean, and
// gRPC's own names for them: docs/metrics.md.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/time.h"

namespace nebula {

// How long things took, in the buckets of gRFC A66.
struct Histogram {
  // Upper bounds, which belong to their buckets; one more bucket is for what took longer.
  static constexpr std::array<int64_t, 41> bounds_us = {
      0,      10,     50,     100,    300,    600,    800,    1000,    2000,    3000,    4000,     5000,     6000,     8000,
      10000,  13000,  16000,  20000,  25000,  30000,  40000,  50000,   65000,   80000,   100000,   130000,   160000,   200000,
      250000, 300000, 400000, 500000, 650000, 800000, 1000000, 2000000, 5000000, 10000000, 20000000, 50000000, 100000000};
  static constexpr size_t size = bounds_us.size() + 1;

  static size_t bucket_of(Duration took) {
    if (took.ns <= 0) return 0;
    uint64_t us = (static_cast<uint64_t>(took.ns) + 999) / 1000;  // up: a bound belongs to the bucket below it
    size_t bucket = first_buckets[static_cast<size_t>(std::bit_width(us))];
    while (bucket < bounds_us.size() && static_cast<uint64_t>(bounds_us[bucket]) < us) bucket++;
    return bucket;
  }

  void add(size_t bucket, Duration took) {
    counts[bucket]++;
    sum = sum + took;
  }
  void add(const Histogram& more);
  uint64_t count() const;

  std::array<uint64_t, size> counts{};
  Duration sum;

 private:
  // Where to begin to look, by the count of bits of the microseconds: from there it is three steps at most.
  static constexpr std::array<uint8_t, 65> first_buckets = [] {
    std::array<uint8_t, 65> first{};
    for (size_t bits = 0; bits < first.size(); bits++) {
      uint64_t least = bits == 0 ? 0 : uint64_t{1} << (bits - 1);
      uint8_t bucket = 0;
      while (bucket < bounds_us.size() && static_cast<uint64_t>(bounds_us[bucket]) < least) bucket++;
      first[bits] = bucket;
    }
    return first;
  }();
};

// The same by how it ended; what has never happened takes no memory.
struct Durations {
  void add(Code code, size_t bucket, Duration took) {
    std::unique_ptr<Histogram>& one = by_code[static_cast<size_t>(code)];
    if (one == nullptr) one = std::make_unique<Histogram>();
    one->add(bucket, took);
  }
  void add(const Durations& more);
  uint64_t count(Code code) const;

  std::array<std::unique_ptr<Histogram>, 17> by_code;
};

// Of one method of one target, as its callers see it.
struct ClientMetrics {
  void add(const ClientMetrics& more);

  uint64_t calls = 0;                // that have begun
  uint64_t attempts = 0;             // of them, that were sent to a node
  uint64_t retries = 0;              // by a policy
  uint64_t transparent_retries = 0;  // of what surely nobody had seen
  Durations call_duration, attempt_duration;
  Durations shared;                  // of attempts that were all of their call: both of the above, in a snapshot
};

// Of one method of a server.
struct ServerMetrics {
  void add(const ServerMetrics& more);

  uint64_t calls = 0;  // that have begun
  Durations call_duration;
};

// Of one node of a channel; they go with it.
struct NodeMetrics {
  void add_latency(size_t bucket, Duration took) {
    if (latency == nullptr) latency = std::make_unique<Histogram>();
    latency->add(bucket, took);
  }
  void add(const NodeMetrics& more);

  uint64_t picks = 0;              // by the balancer, whether the node could take the call or not
  uint64_t attempts = 0;           // that it took
  uint64_t failures = 0;           // of them, that are its fault
  uint64_t isolations = 0;         // by its breaker
  uint64_t ejections = 0;          // as an outlier
  uint64_t connects = 0;           // connections on which it spoke HTTP/2
  uint64_t connect_failures = 0;
  uint64_t disconnections = 0;     // of those on which it had
  Duration connect_time;           // of all connects; of the last one
  Duration connect_time_last;
  std::unique_ptr<Histogram> latency;  // until the answer began
};

// A node, a channel, as they are at the moment.
struct NodeReport {
  std::string id, address, zone;
  std::string description;  // digest of its methods and their messages; empty: it has said none
  std::string state;    // "usable", or what is in the way
  std::string trouble;  // why it could not be reached the last time
  uint32_t weight = 1, inflight = 0;
  Duration latency;     // what the balancer believes; 0: not known
  NodeMetrics counts;
};

struct ChannelReport {
  std::string target;
  std::string trouble;    // of the registry
  size_t loop = 0;        // each has connections of its own
  size_t waiting = 0;     // calls that no node has at the moment
  std::vector<NodeReport> nodes;
};

struct MetricsSnapshot {
  void add(MetricsSnapshot&& more);  // of another loop

  std::map<std::pair<std::string, std::string>, ClientMetrics> client;  // by target and method
  std::map<std::string, ServerMetrics> server;                          // by method
  std::vector<ChannelReport> channels;
  size_t loops = 1;  // that it is of
};

// What tells of itself in a snapshot: a channel.
struct MetricsSource {
  virtual ChannelReport report() const = 0;

 protected:
  ~MetricsSource() = default;
};

class Metrics {
 public:
  static constexpr std::string_view other = "other";  // all that has no name of its own

  Metrics() = default;
  Metrics(const Metrics&) = delete;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  template <class T>
  using ByName = std::unordered_map<std::string, T, Hash, std::equal_to<>>;

 public:
  // Of a channel. They stay as long as the Metrics do.
  class Target {
   public:
    ClientMetrics& method(std::string_view path);

   private:
    friend class Metrics;
    Metrics* owner_ = nullptr;
    ByName<ClientMetrics> methods_;
  };
  Target& target(std::string_view name);

  ServerMetrics& server(std::string_view path);

  void add(const MetricsSource& source) { sources_.push_back(&source); }
  void remove(const MetricsSource& source) { std::erase(sources_, &source); }

  MetricsSnapshot snapshot() const;

 private:
  size_t client_methods_ = 0;  // of all targets
  ByName<Target> targets_;
  ByName<ServerMetrics> server_;
  std::vector<const MetricsSource*> sources_;
};

}  // namespace nebula
