// kit/world.cc - seeds, addresses, drivers.
#include "kit/world.h"

#include <cstdio>
#include <cstdlib>

#include "transport/transports.h"

namespace nebula::kit {

uint64_t seed(uint64_t otherwise) {
  const char* text = std::getenv("NEBULA_SEED");
  uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
  std::fprintf(stderr, "NEBULA_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

Url url(std::string_view text) {
  Result<Url> parsed = Url::parse(text);
  NEBULA_ASSERT(parsed.ok());
  return *parsed;
}

const DriverTable<Transport>& transports() {
  static const DriverTable<Transport> table = [] {
    DriverTable<Transport> all;
    for (const Driver<Transport>& driver : {mem_driver(), tcp_driver(), tls_driver(), unix_driver(), fault_driver()})
      NEBULA_ASSERT(all.add(driver).ok());
    return all;
  }();
  return table;
}

std::unique_ptr<UvLoop> RealWorld::made() {
  Result<std::unique_ptr<UvLoop>> loop = UvLoop::make();
  NEBULA_ASSERT(loop.ok());
  return std::move(*loop);
}

}  // namespace nebula::kit
