// bindings/cpp/served.hpp - the service: each request says what its handler does, in the order of conformance.proto.
#ifndef NEBULA_TESTS_BINDINGS_SERVED_HPP
#define NEBULA_TESTS_BINDINGS_SERVED_HPP

#include <map>
#include <memory>
#include <mutex>
#include <nebula.hpp>

#include "conformance.pb.h"

namespace conformance {

inline constexpr char service_name[] = "nebula.test.v1.Conformance";

// What has become of a call; its handler writes, Recall reads.
struct Memory {
  enum State { running, finished, cancelled };
  std::atomic<State> state{running};
  std::atomic<uint64_t> received{0}, sent{0};
};

class Service {
 public:
  // The handlers refer to this.
  explicit Service(nebula::Server& server);

  // Says where this server is: the first of these addresses.
  void reach(const std::string& urls);

 private:
  friend class Work;

  std::shared_ptr<Memory> remember(const std::string& key);
  nebula::test::v1::Record recall(const std::string& key);

  std::mutex lock_;
  std::map<std::string, std::shared_ptr<Memory>> memories_;  // by key
  std::unique_ptr<nebula::Channel> itself_;                  // for what is relayed
};

}  // namespace conformance

#endif
