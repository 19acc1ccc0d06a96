// service/checked_source.h - a stream of requests that ends at the first one that is not what its service takes.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "rpc/call.h"
#include "rpc/schema.h"

namespace nebula {

class CheckedSource final : public Source {
 public:
  CheckedSource(std::unique_ptr<Source> messages, std::shared_ptr<Schema> schema, std::string method);

  // Of the first message, if it is there already: what is wrong with it. Before anything is sent.
  Status look_ahead();

  Ending& ending() override { return failure_ ? *failure_ : messages_->ending(); }
  bool rewind() override;
  void commit() override { messages_->commit(); }

 private:
  Next take(Bytes* message) override;

  std::unique_ptr<Source> messages_;
  std::shared_ptr<Schema> schema_;
  const std::string method_;
  std::optional<Bytes> first_;  // looked at, and not given yet
  std::optional<Ending> failure_;
};

}  // namespace nebula
