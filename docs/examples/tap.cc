// docs/examples/tap.cc - tap:?inner=<url>, a connection that counts its bytes and tells when it ends.
//
// A whole transport that leaves the work to another one. What it listens at is the inner address, so a server can be
// tapped without its clients' knowing. Everything lives on one loop.
#include "base/log.h"
#include "examples.h"
#include "transport/answers.h"
#include "transport/network.h"

namespace nebula {

namespace {

constexpr std::string_view usage = "tap:?inner=url";

class TapConn final : public Conn, private ConnEvents {
 public:
  TapConn(Log& log, std::unique_ptr<Conn> inner) : log_(log), inner_(std::move(inner)) {}

  ~TapConn() override {
    NEBULA_LOG(log_, info,
               peer().address + ": " + std::to_string(bytes_in_) + " bytes in, " + std::to_string(bytes_out_) + " out");
  }

  // Down.
  void start(ConnEvents& up) override {
    up_ = &up;
    inner_->start(*this);
  }
  void write(Bytes data) override {
    bytes_out_ += data.size();
    inner_->write(std::move(data));
  }
  size_t unsent() const override { return inner_->unsent(); }
  void pause(bool on) override { inner_->pause(on); }
  void limit_unacknowledged(Duration time) override { inner_->limit_unacknowledged(time); }
  const Peer& peer() const override { return inner_->peer(); }

 private:
  // Up. Whoever hears may destroy this connection, so telling is the last thing each of them does.
  void on_bytes(Bytes data) override {
    bytes_in_ += data.size();
    up_->on_bytes(std::move(data));
  }
  void on_drained() override { up_->on_drained(); }
  void on_closed(Status why) override { up_->on_closed(std::move(why)); }

  Log& log_;
  std::unique_ptr<Conn> inner_;
  ConnEvents* up_ = nullptr;
  size_t bytes_in_ = 0;
  size_t bytes_out_ = 0;
};

Result<Url> inner_of(const Url& url) {
  std::optional<std::string_view> inner = url.option("inner");
  if (!inner) return invalid_argument("address \"" + url.text() + "\": no inner; write " + std::string(usage));
  return Url::parse(*inner);
}

class Tap final : public Transport {
 public:
  explicit Tap(const Env& env) : env_(env), answers_(env.loop) {}

  Result<std::unique_ptr<Listener>> listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn) override {
    TRY(Url inner, inner_of(at));
    return env_.network.listen(
        inner, [&log = env_.log, on_conn = std::move(on_conn)](std::unique_ptr<Conn> conn) mutable {
          on_conn(std::make_unique<TapConn>(log, std::move(conn)));
        });
  }

  void dial(const Url& to, Done<std::unique_ptr<Conn>> done) override {
    Result<Url> inner = inner_of(to);
    // Known at once, and yet told in a later step: nobody is called back from inside his own call.
    if (!inner.ok()) return answers_.later(inner.status(), std::move(done));
    env_.network.dial(*inner, [&log = env_.log, done = std::move(done)](Result<std::unique_ptr<Conn>> conn) mutable {
      if (!conn.ok()) return done(std::move(conn));
      done(std::unique_ptr<Conn>(std::make_unique<TapConn>(log, std::move(*conn))));
    });
  }

 private:
  Env env_;
  Answers answers_;
};

}  // namespace

Driver<Transport> tap_driver() {
  return {"tap", usage, [](const Url&, const Env& env) {
    return Result<std::unique_ptr<Transport>>(std::make_unique<Tap>(env));
  }};
}

}  // namespace nebula
