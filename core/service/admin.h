// service/admin.h - nebula.v1.Admin: what this process counts, and its channels and nodes as they are.
//
// It tells who calls whom, and how often: so only to this user on this host, which is who can open a Unix socket of ours,
// and to the process itself, unless it was opened to all. Lives on the loop of its server.
#pragma once

#include <optional>
#include <string_view>

#include "base/metrics.h"
#include "rpc/service.h"

namespace nebula {

class Admin final : public Service {
 public:
  enum class Access : uint8_t { off, local, open };
  static std::optional<Access> access_of(std::string_view word);  // "off", "local", "open"

  // Asks all loops, and tells their sum on this one.
  using Ask = Fn<void(Fn<void(MetricsSnapshot)> then)>;
  Admin(Ask ask, Access access) : ask_(std::move(ask)), access_(access) {}

  Method metrics_method() { return {"/nebula.v1.Admin/Metrics", true, this}; }
  Method channels_method() { return {"/nebula.v1.Admin/Channels", true, this}; }
  bool is_off() const { return access_ == Access::off; }

  void call(Request request, Reply reply) override;

 private:
  Ask ask_;
  const Access access_;
};

}  // namespace nebula
