// service/policy_files.h - a policy that stands in a file, read again when the file has changed.
//
// A file is written in place, replaced by a rename, or, as in a volume of Kubernetes, reached by a link that is turned;
// it may vanish and come back. Lives on one loop.
#pragma once

#include <memory>
#include <string>

#include "base/fn.h"
#include "base/result.h"
#include "loop/files_watch.h"

namespace nebula {

// What stands there; unavailable or invalid_argument, with the path.
Result<std::string> read_policy_file(const std::string& path);

class PolicyFile final : DirectoryWatch::Owner {
 public:
  using OnLook = Fn<void(Result<std::string> text)>;  // whenever it may be otherwise; the first time at once

  PolicyFile(std::string path, Loop& loop, OnLook on_look);

 private:
  void on_events(std::vector<DirectoryEvent> events) override;

  const std::string path_, directory_, name_;
  Loop& loop_;
  OnLook on_look_;
  std::unique_ptr<DirectoryWatch> watch_;
};

}  // namespace nebula
