// transport/tls.cc - tls://host:port, encrypted and verified, over tcp://host:port. Options: tls_options.h.
//
//   inner  what it really listens at or dials, percent-encoded: tls://example.com?inner=unix%3A/run/a.sock
//
// A connection is handed out when its handshake is done: a dial fails with the reason if that fails, and a server never
// sees who does not speak TLS, or may not come in. HTTP/2 is the only protocol (ALPN h2).
#include <map>

#include "base/limits.h"
#include "base/log.h"
#include "transport/answers.h"
#include "transport/network.h"
#include "transport/tls_conn.h"
#include "transport/tls_context.h"
#include "transport/transports.h"

namespace nebula {

namespace {

constexpr std::string_view usage = "tls://host:port?cert=a.pem&key=a.key&ca=ca.pem&name=host";

using ConnDone = Done<std::unique_ptr<Conn>>;

Result<Url> inner_of(const Url& url) {
  if (std::optional<std::string_view> inner = url.option("inner")) return Url::parse(*inner);
  if (!url.port) return invalid_argument(url.text() + ": no port; write " + std::string(usage));
  Url inner = url;
  inner.scheme = "tcp";
  return inner;
}

// What the server's certificate must be for. An address that means "all of this machine" is found in no certificate.
std::string verified_name(const Url& to, const TlsOptions& options) {
  if (!options.server_name.empty()) return options.server_name;
  return to.host == "0.0.0.0" || to.host == "::" ? "localhost" : to.host;
}

// Connections that are not yet anybody's.
class Handshakes {
 public:
  ~Handshakes() {
    for (auto& [raw, open] : std::exchange(open_, {}))
      open.done(unavailable("given up during the TLS handshake, for this end is closing"));
  }

  void begin(std::unique_ptr<TlsConn> conn, ConnDone done) {
    TlsConn* raw = conn.get();
    open_.emplace(raw, Open{std::move(conn), std::move(done)});
    raw->handshake([this, raw](Status status) { end(raw, std::move(status)); });
  }

 private:
  struct Open {
    std::unique_ptr<TlsConn> conn;
    ConnDone done;
  };

  void end(TlsConn* raw, Status status) {
    Open open = std::move(open_.extract(raw).mapped());
    if (status.ok()) return open.done(std::unique_ptr<Conn>(std::move(open.conn)));
    open.conn.reset();
    open.done(std::move(status));
  }

  std::map<TlsConn*, Open> open_;
};

class TlsListener final : public Listener {
 public:
  using OnConn = Fn<void(std::unique_ptr<Conn>)>;

  static Result<std::unique_ptr<Listener>> make(const Env& env, Url at, OnConn on_conn) {
    TlsOptions options = take_tls_options(at).value_or(TlsOptions());
    TRY(std::unique_ptr<TlsFiles> files, TlsFiles::open(options, TlsSide::server, env.loop, env.log));
    TRY(Url inner, inner_of(at));
    std::unique_ptr<TlsListener> listener(new TlsListener(env, std::move(at), std::move(files), std::move(on_conn)));
    TRY(listener->inner_, env.network.listen(inner, [self = listener.get()](std::unique_ptr<Conn> conn) {
      self->accept(std::move(conn));
    }));
    return std::unique_ptr<Listener>(std::move(listener));
  }

  // Without our files: they are nobody else's business, and this is what is announced.
  Url url() const override {
    Url url = at_;
    if (!url.option("inner")) url.port = inner_->url().port;
    for (auto& [name, value] : url.query)
      if (name == "inner") value = inner_->url().text();
    return url;
  }

  Url share() override {
    Url url = with_tls_options(at_, files_->options());
    url.set_option("inner", inner_->share().text());
    return url;
  }

 private:
  TlsListener(const Env& env, Url at, std::unique_ptr<TlsFiles> files, OnConn on_conn)
      : env_(env), at_(std::move(at)), files_(std::move(files)), on_conn_(std::move(on_conn)) {}

  void accept(std::unique_ptr<Conn> inner) {
    std::string address = inner->peer().address;
    handshakes_.begin(
        std::make_unique<TlsConn>(env_.loop, files_->context(), TlsSide::server, "", std::move(inner)),
        [this, address](Result<std::unique_ptr<Conn>> conn) {
          if (conn.ok()) return hand_on(std::move(*conn));
          NEBULA_LOG(env_.log, info, "closed " + address + ": " + std::string(conn.status().message()));
        });
  }

  void hand_on(std::unique_ptr<Conn> conn) {
    // The function may destroy the listener; it stands here meanwhile, so that it does not destroy itself.
    OnConn on_conn = std::move(on_conn_);
    Anchor<TlsListener>::Ref self = anchor_.ref();
    on_conn(std::move(conn));
    if (self.get() != nullptr) on_conn_ = std::move(on_conn);
  }

  const Env env_;
  const Url at_;
  const std::unique_ptr<TlsFiles> files_;
  OnConn on_conn_;
  std::unique_ptr<Listener> inner_;
  Handshakes handshakes_;
  Anchor<TlsListener> anchor_{*this};
};

class Tls final : public Transport {
 public:
  explicit Tls(const Env& env) : env_(env), answers_(env.loop) {}

  Result<std::unique_ptr<Listener>> listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn) override {
    return TlsListener::make(env_, at, std::move(on_conn));
  }

  void dial(const Url& to, ConnDone done) override {
    Url plain = to;
    TlsOptions options = take_tls_options(plain).value_or(TlsOptions());
    std::string what = "dial " + plain.text();
    std::string name = verified_name(plain, options);
    if (name.empty())
      return answers_.later(invalid_argument(what + ": no host whose certificate to verify"), std::move(done));
    Result<Url> inner = inner_of(plain);
    if (!inner.ok()) return answers_.later(inner.status().with_context("dial"), std::move(done));
    Result<TlsFiles*> files = client_files(std::move(options));
    if (!files.ok()) return answers_.later(files.status().with_context(what), std::move(done));
    env_.network.dial(*inner, [self = anchor_.ref(), files = *files, what = std::move(what), name = std::move(name),
                               done = std::move(done)](Result<std::unique_ptr<Conn>> conn) mutable {
      if (!conn.ok()) return done(std::move(conn));
      if (self.get() == nullptr) return done(unavailable(what + ": given up, for the engine is closing"));
      self.get()->encrypt(std::move(*conn), *files, std::move(name), std::move(what), std::move(done));
    });
  }

 private:
  void encrypt(std::unique_ptr<Conn> inner, TlsFiles& files, std::string name, std::string what, ConnDone done) {
    handshakes_.begin(std::make_unique<TlsConn>(env_.loop, files.context(), TlsSide::client, std::move(name),
                                                std::move(inner)),
                      [what = std::move(what), done = std::move(done)](Result<std::unique_ptr<Conn>> conn) mutable {
                        if (conn.ok()) return done(std::move(conn));
                        done(conn.status().with_context(what));
                      });
  }

  // One context for all dials with the same files. They are as many as the program has settings, and stay.
  Result<TlsFiles*> client_files(TlsOptions options) {
    options.server_name.clear();
    for (const std::unique_ptr<TlsFiles>& known : clients_)
      if (known->options() == options) return known.get();
    TRY(std::unique_ptr<TlsFiles> files, TlsFiles::open(options, TlsSide::client, env_.loop, env_.log));
    clients_.push_back(std::move(files));
    return clients_.back().get();
  }

  const Env env_;
  std::vector<std::unique_ptr<TlsFiles>> clients_;
  Answers answers_;
  Handshakes handshakes_;
  Anchor<Tls> anchor_{*this};
};

}  // namespace

Driver<Transport> tls_driver() {
  return {"tls", usage, [](const Url&, const Env& env) {
    return Result<std::unique_ptr<Transport>>(std::make_unique<Tls>(env));
  }};
}

}  // namespace nebula
