// rpc/description.h - what a server's services look like, and nebula.v1.Description, which tells it to callers.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "rpc/descriptors.h"
#include "rpc/router.h"

namespace nebula {

// The documents of a server; rpc/schema.h says what is in one.
class Descriptions {
 public:
  struct Document {
    std::string text;
    // A server that was started anew with the same methods has the same; it tells versions apart, and nothing else.
    uint64_t digest = 0;
  };

  // What the program says of a service. invalid_argument: this is no description of it. already_exists.
  Status add(std::string_view service, std::string_view document);

  // When all methods are known: adds what the files of protobuf say of the services that the program has not described,
  // and the messages that it has only named. invalid_argument: what it said is not what is served.
  Status complete(const Router& router, const Descriptors& descriptors);

  const Document* find(std::string_view service) const;  // null: nothing is known of it

 private:
  std::map<std::string, Document, std::less<>> documents_;
};

class Description final : public Service {
 public:
  explicit Description(const Descriptions& descriptions) : descriptions_(descriptions) {}  // which outlive it

  Method get_method() { return {"/nebula.v1.Description/Get", true, this}; }

  void call(Request request, Reply reply) override;

 private:
  const Descriptions& descriptions_;
};

}  // namespace nebula
