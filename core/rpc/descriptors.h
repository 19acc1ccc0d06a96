// rpc/descriptors.h - the protobuf files of a server's services, found by what they define.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace nebula {

class Descriptors {
 public:
  // `set`: a serialized google.protobuf.FileDescriptorSet. Files that are here already are left as they are.
  // invalid_argument: it is none; nothing was added.
  Status add(std::string_view set);

  // Those of the services that every server has: grpc.health.v1, grpc.reflection.v1 and v1alpha, nebula.v1.
  void add_own();

  // The file and all that it imports, itself first; empty: unknown.
  std::vector<Bytes> by_name(std::string_view file) const;
  std::vector<Bytes> by_symbol(std::string_view name) const;  // "shop.v1.Cart", "shop.v1.Cart.Add", a message, a field
  std::vector<Bytes> by_extension(std::string_view type, int32_t number) const;

  // The numbers of all extensions of a message, ascending.
  std::vector<int32_t> extensions_of(std::string_view type) const;
  bool knows(std::string_view symbol) const { return symbols_.contains(symbol); }

 private:
  class Indexer;
  struct File {
    Bytes bytes;
    std::vector<std::string> imports;
  };

  std::map<std::string, File, std::less<>> files_;
  std::map<std::string, std::string, std::less<>> symbols_;                             // to the file's name
  std::map<std::string, std::map<int32_t, std::string>, std::less<>> extensions_;       // of a type, by number
};

}  // namespace nebula
