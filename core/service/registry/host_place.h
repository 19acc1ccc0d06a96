// service/registry/host_place.h - where the programs of one user on one host find each other.
//
// `host:` is $XDG_RUNTIME_DIR/nebula/<ns>; where that is not set, an existing /run/user/<uid>/nebula/<ns>; where there
// is none, /tmp/nebula-<uid>/<ns>. `&ns=` names another <ns> than "default"; `host:?dir=/path` another directory.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/url.h"

namespace nebula {

struct HostPlace {
  std::string root;                // absolute; taken as it is
  std::vector<std::string> below;  // made where missing, and nobody else's: Directory::prepare

  std::string path() const;
};

// What can be done in every case of trouble; the end of a sentence.
inline constexpr char host_place_advice[] = " (or use another directory: NEBULA_REGISTRY=host:?dir=/path)";

// Reads the environment, touches nothing.
Result<HostPlace> choose_host_place(const Url& url);

}  // namespace nebula
