// service/policy_files.h - policies that stand in files: file:/path, read again when the file has changed.
//
// A file is written in place, replaced by a rename, or, as in a volume of Kubernetes, reached by a link that is turned;
// it may vanish and come back. What it says is told only when it can be used: else one line of log says what is wrong,
// and what was in force stays. Lives on the loop of the registry, whose watchers it serves.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "loop/anchor.h"
#include "loop/files_watch.h"
#include "service/registry/registry.h"

namespace nebula {

// The path, where a policy's text is the place of one: "file:/etc/shop/policy".
std::optional<std::string> policy_file_of(std::string_view text);

// What stands there; unavailable or invalid_argument, with the path.
Result<std::string> read_policy_file(const std::string& path);

class PolicyFile final : DirectoryWatch::Owner {
 public:
  using Check = Fn<Status(std::string_view text)>;  // whether it can be used

  PolicyFile(std::string path, Loop& loop, Log& log, Check& check);
  std::unique_ptr<Watch> watch(Fn<void(std::string)> on_text);

 private:
  class Reader;

  void on_events(std::vector<DirectoryEvent> events) override;
  void look();
  void tell();

  const std::string path_, directory_, name_;
  Loop& loop_;
  Log& log_;
  Check& check_;
  std::unique_ptr<DirectoryWatch> watch_;
  std::optional<std::string> seen_;   // the last, good or bad; none: it could not be read
  std::optional<std::string> good_;   // what is in force
  std::map<uint64_t, Fn<void(std::string)>> readers_;
  uint64_t ids_given_ = 0;
  Anchor<PolicyFile> anchor_{*this};
};

// A registry that knows file: as a place of policies, beside what it is made of.
class RegistryWithFiles final : public Registry {
 public:
  RegistryWithFiles(std::unique_ptr<Registry> inner, Loop& loop, Log& log, PolicyFile::Check check)
      : inner_(std::move(inner)), loop_(loop), log_(log), check_(std::move(check)) {}

  std::unique_ptr<Watch> watch(std::string_view service, Fn<void(Snapshot)> on_change) override {
    return inner_->watch(service, std::move(on_change));
  }
  void announce(std::string_view service, Endpoint self, Done<std::unique_ptr<Lease>> done) override {
    inner_->announce(service, std::move(self), std::move(done));
  }
  Result<std::optional<Url>> local_address(std::string_view id) override { return inner_->local_address(id); }
  std::unique_ptr<Watch> watch_policy(std::string_view place, Fn<void(std::string)> on_text) override;

 private:
  std::unique_ptr<Registry> inner_;
  Loop& loop_;
  Log& log_;
  PolicyFile::Check check_;
  std::map<std::string, std::unique_ptr<PolicyFile>> files_;  // by path
};

}  // namespace nebula
