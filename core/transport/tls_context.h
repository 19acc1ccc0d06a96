// transport/tls_context.h - what the handshakes of one address share: protocol rules, certificate, authorities.
//
// A context is made of files and never changes. TlsFiles makes a new one when the files have: connections that stand go
// on with the one they began with. Lives on one loop.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "base/log.h"
#include "loop/loop.h"
#include "transport/tls_options.h"

struct ssl_ctx_st;

namespace nebula {

struct TlsContextFree {
  void operator()(ssl_ctx_st* context) const;
};
using TlsContext = std::unique_ptr<ssl_ctx_st, TlsContextFree>;

// `unauthenticated`, naming the file: it cannot be read, holds no PEM, or the key is not the certificate's.
Result<TlsContext> make_tls_context(const TlsOptions& options, TlsSide side);

// A file as it was seen: another stamp means that it was written, replaced, or linked anew.
struct FileStamp {
  uint64_t device = 0, inode = 0, size = 0;
  int64_t written_ns = 0, changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

class TlsFiles {
 public:
  static Result<std::unique_ptr<TlsFiles>> open(const TlsOptions& options, TlsSide side, const Clock& clock,
                                                const Log& log);

  // For the handshake that begins now. It is now that the files are looked at, at most once in
  // limits::tls_look_interval: three stat calls beside a handshake's signature are nothing, and neither a watch nor a
  // timer has to be kept for a server that nobody calls. If new files do not work (a pair that is half written, say)
  // the old ones stay in use, and the log says it once.
  ssl_ctx_st& context();

  const TlsOptions& options() const { return options_; }

 private:
  using Stamps = std::array<FileStamp, 3>;

  TlsFiles(const TlsOptions& options, TlsSide side, const Clock& clock, const Log& log);
  Stamps look() const;

  const TlsOptions options_;
  const TlsSide side_;
  const Clock& clock_;
  const Log& log_;
  TlsContext context_;
  Stamps seen_;
  Time looked_;
};

}  // namespace nebula
