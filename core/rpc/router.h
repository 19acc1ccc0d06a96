// rpc/router.h - path -> Method, and the words for a path that is none.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rpc/service.h"

namespace nebula {

// unimplemented, naming what there is: the server says it of a call, the client of one that it does not send.
Status unknown_method(std::string_view service, std::string_view method, const std::vector<std::string>& methods);

class Router {
 public:
  Status add(Method method);                           // already_exists; invalid_argument if not "/service/method"
  const Method* find(std::string_view path) const;     // null: none; stays valid as long as the router
  Status unknown(std::string_view path) const;         // unimplemented, naming what there is
  std::vector<std::string> services() const;           // names, sorted, each once
  std::vector<std::string> methods_of(std::string_view service) const;  // names, sorted

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, Method, Hash, std::equal_to<>> methods_;
};

}  // namespace nebula
