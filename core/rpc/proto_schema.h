// rpc/proto_schema.h - protobuf's messages and services as JSON Schema, by proto3's mapping to JSON.
//
// Fields go by both of their names; integers may be strings, enums names or numbers, and any field null, as the mapping
// has it. What it says of Google's own types is here too: a Timestamp is a string, a Struct any object.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/descriptors.h"

namespace nebula {

class ProtoSchemas {
 public:
  explicit ProtoSchemas(const Descriptors& descriptors);  // which outlive it
  ~ProtoSchemas();

  // What {"$ref": "#/$defs/<message>"} means; "" if there is no such message. Those that it refers to are for the caller
  // to ask for.
  std::string definition(std::string_view message);

  // The description of a service without its $defs, of those of its methods that are served; "" if no file has the service.
  std::string service(std::string_view name, const std::vector<std::string>& served);

 private:
  struct Files;
  std::unique_ptr<Files> files_;
};

}  // namespace nebula
