// transport/fault.cc - fault:?inner=<url>&... , a connection that behaves badly. For tests; the order of bytes is kept.
//
//   inner         what it really listens at or dials, percent-encoded
//   seed          the same faults in each run; without it they follow the world's own seed
//   delay_us      each piece comes so much later: a long way, on which all that is sent is under way
//   delay_max_us  each piece comes later by a random time up to this
//   split         pieces have a random size from 1 to so many bytes
//   cut_after     the connection is reset at a random byte up to this one, both directions counted together
//   silent_after  at a random byte up to this one the connection is half-open: what comes after, in one direction or
//                 both, is lost, and so is the end of the connection
//   stall         one piece in eight, and so all that follow it, waits so many microseconds more
//
// Time comes from the loop and chance from a seed, so on a SimLoop a run can be repeated exactly.
#include <algorithm>
#include <charconv>
#include <deque>

#include "base/random.h"
#include "loop/anchor.h"
#include "loop/loop.h"
#include "transport/answers.h"
#include "transport/network.h"
#include "transport/transports.h"

namespace nebula {

namespace {

constexpr std::string_view usage =
    "fault:?inner=url&seed=&delay_us=&delay_max_us=&split=&cut_after=&silent_after=&stall=";

// Of pieces that wait for their time towards us; beyond, the inner connection is paused.
constexpr size_t waiting_bytes_max = 256u << 10;
constexpr uint64_t stall_one_in = 8;

struct Plan {
  Url inner;
  std::optional<uint64_t> seed;
  Duration delay, delay_max;
  uint64_t split_max = 0;  // 0: pieces stay as they are
  uint64_t cut_after = 0;  // 0: never
  uint64_t silent_after = 0;
  Duration stall;
};

Result<uint64_t> number(const Url& url, std::string_view name) {
  std::string_view text = url.option(name).value_or("0");
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return invalid_argument("address \"" + url.text() + "\": " + std::string(name) + " must be a number");
}

Result<Plan> plan_of(const Url& url) {
  Plan plan;
  std::optional<std::string_view> inner = url.option("inner");
  if (!inner) return invalid_argument("address \"" + url.text() + "\": no inner; write " + std::string(usage));
  TRY(plan.inner, Url::parse(*inner));
  TRY(uint64_t seed, number(url, "seed"));
  if (url.option("seed")) plan.seed = seed;
  TRY(uint64_t delay_us, number(url, "delay_us"));
  TRY(uint64_t delay_max_us, number(url, "delay_max_us"));
  TRY(plan.split_max, number(url, "split"));
  TRY(plan.cut_after, number(url, "cut_after"));
  TRY(plan.silent_after, number(url, "silent_after"));
  TRY(uint64_t stall_us, number(url, "stall"));
  plan.delay = us(static_cast<int64_t>(delay_us));
  plan.delay_max = us(static_cast<int64_t>(delay_max_us));
  plan.stall = us(static_cast<int64_t>(stall_us));
  return plan;
}

// The connection inside. It may outlive who it was for, when the peer must not hear of that: until the peer goes, which
// must therefore not be another of these.
class Inner final : public ConnEvents {
 public:
  Inner(Loop& loop, std::unique_ptr<Conn> conn, ConnEvents& up) : loop_(loop), conn_(std::move(conn)), up_(&up) {}

  void start() { conn_->start(*this); }
  Conn& conn() { return *conn_; }
  const Conn& conn() const { return *conn_; }

  static void leave_behind(std::unique_ptr<Inner> inner) {
    if (inner->has_ended_) return;
    inner->conn_->pause(false);  // so that it hears of the end
    inner.release()->up_ = nullptr;
  }

 private:
  void on_bytes(Bytes data) override {
    if (up_ != nullptr) up_->on_bytes(std::move(data));
  }
  void on_drained() override {
    if (up_ != nullptr) up_->on_drained();
  }
  void on_closed(Status why) override {
    has_ended_ = true;
    if (up_ != nullptr) return up_->on_closed(std::move(why));
    loop_.later([self = std::unique_ptr<Inner>(this)] {});
  }

  Loop& loop_;
  std::unique_ptr<Conn> conn_;
  ConnEvents* up_;
  bool has_ended_ = false;
};

class FaultConn final : public Conn, private ConnEvents {
 public:
  FaultConn(Loop& loop, const Plan& plan, uint64_t seed, std::unique_ptr<Conn> inner)
      : loop_(loop), plan_(plan), random_(seed), peer_(inner->peer()) {
    inner_.reset(new Inner(loop, std::move(inner), *this));
    left_ = plan_.cut_after == 0 ? UINT64_MAX : 1 + random_.below(plan_.cut_after);
    if (plan_.silent_after > 0) until_silence_ = 1 + random_.below(plan_.silent_after);
  }
  ~FaultConn() override {
    if (out_.is_silent && inner_ != nullptr) Inner::leave_behind(std::move(inner_));
  }

  void start(ConnEvents& up) override {
    up_ = &up;
    inner_->start();
  }

  void write(Bytes data) override {
    if (is_closed_ || data.empty()) return;
    add(out_, data);
    arm_out();
  }

  size_t unsent() const override {
    if (is_closed_) return 0;
    return inner_->conn().unsent() + (is_long() ? 0 : out_.bytes);
  }

  void pause(bool on) override {
    is_paused_ = on;
    if (is_closed_) return;
    pause_inner();
    if (!on) arm_in();
  }

  void limit_unacknowledged(Duration time) override { inner_->conn().limit_unacknowledged(time); }

  const Peer& peer() const override { return peer_; }

 private:
  struct Piece {
    Time due;
    Bytes bytes;
  };

  // One direction. Its pieces are due in the order in which they stand.
  struct Lane {
    std::deque<Piece> pieces;
    size_t bytes = 0;
    Time last_due;
    std::unique_ptr<Timer> timer;
    bool is_silent = false;  // nothing arrives any more

    bool has_due(Time now) const { return !pieces.empty() && pieces.front().due <= now; }
    Bytes take() {
      Bytes first = std::move(pieces.front().bytes);
      pieces.pop_front();
      bytes -= first.size();
      return first;
    }
  };

  void on_bytes(Bytes data) override {
    add(in_, data);
    pause_inner();
    arm_in();
  }

  void on_drained() override {
    if (out_.pieces.empty()) up_->on_drained();
  }

  // The end comes after what came before it.
  void on_closed(Status why) override {
    has_ended_ = true;
    end_ = std::move(why);
    in_.last_due = due_after(in_);
    arm_in();
  }

  Time due_after(const Lane& lane) {
    Duration delay = plan_.delay + nanos(random_.between(0, plan_.delay_max.ns));
    if (plan_.stall > Duration{} && random_.chance(1, stall_one_in)) delay = delay + plan_.stall;
    return std::max(lane.last_due, loop_.now() + delay);
  }

  void add(Lane& lane, const Bytes& data) {
    for (size_t from = 0; from < data.size();) {
      size_t size = data.size() - from;
      if (plan_.split_max > 0) size = std::min(size, static_cast<size_t>(1 + random_.below(plan_.split_max)));
      lane.last_due = due_after(lane);
      lane.pieces.push_back({lane.last_due, data.slice(from, size)});
      lane.bytes += size;
      from += size;
    }
  }

  // Always by a timer, also without a delay: so nothing of ours happens inside a verb or an event of the inner one.
  void arm_in() {
    if (in_.timer != nullptr || is_paused_ || (in_.pieces.empty() && !has_end())) return;
    Time next = in_.pieces.empty() ? in_.last_due : in_.pieces.front().due;
    in_.timer = loop_.after(next - loop_.now(), [this] {
      in_.timer.reset();
      run_in();
    });
  }

  void arm_out() {
    if (out_.timer != nullptr || out_.pieces.empty()) return;
    out_.timer = loop_.after(out_.pieces.front().due - loop_.now(), [this] {
      out_.timer.reset();
      run_out();
    });
  }

  void run_in() {
    Anchor<FaultConn>::Ref self = anchor_.ref();
    while (!is_paused_ && in_.has_due(loop_.now())) {
      Bytes bytes = in_.take();
      if (is_lost(in_, bytes)) continue;
      bool is_cut = passes(&bytes);
      if (!bytes.empty()) up_->on_bytes(std::move(bytes));
      if (self.get() == nullptr) return;
      if (is_cut) return cut();
    }
    if (has_end() && !is_paused_ && in_.pieces.empty() && in_.last_due <= loop_.now()) return close(std::move(end_));
    pause_inner();
    arm_in();
  }

  void run_out() {
    while (out_.has_due(loop_.now())) {
      Bytes bytes = out_.take();
      if (is_lost(out_, bytes)) continue;
      bool is_cut = passes(&bytes);
      if (!has_ended_) inner_->conn().write(std::move(bytes));
      if (is_cut) return cut();
    }
    arm_out();
  }

  // Shortens the piece to what passes before the cut. True: the cut is there.
  bool passes(Bytes* bytes) {
    if (bytes->size() < left_) {
      left_ -= bytes->size();
      return false;
    }
    *bytes = bytes->slice(0, left_);
    return true;
  }

  // The silence begins with a piece of one direction, and is then of that, or the other, or both.
  bool is_lost(const Lane& lane, const Bytes& bytes) {
    if (bytes.size() < until_silence_) {
      if (plan_.silent_after > 0) until_silence_ -= bytes.size();
    } else if (!std::exchange(has_gone_silent_, true)) {
      uint64_t which = random_.below(3);
      in_.is_silent = which != 0;
      out_.is_silent = which != 1;
    }
    return lane.is_silent;
  }

  bool has_end() const { return has_ended_ && !in_.is_silent; }  // that may be heard of

  void pause_inner() {
    bool wants_pause = is_paused_ || (in_.bytes > waiting_bytes_max && !is_long());
    if (has_ended_ || wants_pause == inner_is_paused_) return;
    inner_is_paused_ = wants_pause;
    inner_->conn().pause(wants_pause);
  }

  bool is_long() const { return plan_.delay > Duration{}; }

  void cut() { close(unavailable(peer_.address + ": connection reset by a fault that was asked for")); }

  void close(Status why) {
    is_closed_ = true;
    in_ = {};
    out_ = {};
    inner_.reset();
    up_->on_closed(std::move(why));
  }

  Loop& loop_;
  Plan plan_;
  Random random_;
  std::unique_ptr<Inner> inner_;  // null once closed
  Peer peer_;
  ConnEvents* up_ = nullptr;
  Lane in_, out_;
  uint64_t left_;  // bytes until the cut
  Status end_;     // what the inner connection said last
  uint64_t until_silence_ = UINT64_MAX;  // bytes
  bool has_gone_silent_ = false;
  bool has_ended_ = false;
  bool is_paused_ = false;
  bool inner_is_paused_ = false;
  bool is_closed_ = false;
  Anchor<FaultConn> anchor_{*this};
};

class FaultListener final : public Listener {
 public:
  FaultListener(std::unique_ptr<Listener> inner, Url url) : inner_(std::move(inner)), url_(std::move(url)) {}

  Url url() const override {
    Url url = url_;
    for (auto& [name, value] : url.query)
      if (name == "inner") value = inner_->url().text();
    return url;
  }

  Url share() override {
    Url url = url_;
    url.set_option("inner", inner_->share().text());
    return url;
  }

 private:
  std::unique_ptr<Listener> inner_;
  Url url_;
};

class Fault final : public Transport {
 public:
  explicit Fault(const Env& env) : env_(env), answers_(env.loop) {}

  Result<std::unique_ptr<Listener>> listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn) override {
    TRY(Plan plan, plan_of(at));
    Url inner_at = plan.inner;
    TRY(std::unique_ptr<Listener> inner,
        env_.network.listen(inner_at, [&loop = env_.loop, plan, seeds = Random(seed_of(plan)),
                                       on_conn = std::move(on_conn)](std::unique_ptr<Conn> conn) mutable {
          on_conn(std::make_unique<FaultConn>(loop, plan, seeds.next(), std::move(conn)));
        }));
    return std::unique_ptr<Listener>(std::make_unique<FaultListener>(std::move(inner), at));
  }

  void dial(const Url& to, Done<std::unique_ptr<Conn>> done) override {
    Result<Plan> plan = plan_of(to);
    if (!plan.ok()) return answers_.later(plan.status(), std::move(done));
    Url inner_to = plan->inner;
    uint64_t seed = seed_of(*plan);
    env_.network.dial(inner_to, [&loop = env_.loop, plan = std::move(*plan), seed,
                                 done = std::move(done)](Result<std::unique_ptr<Conn>> inner) mutable {
      if (!inner.ok()) return done(std::move(inner));
      done(std::unique_ptr<Conn>(std::make_unique<FaultConn>(loop, plan, seed, std::move(*inner))));
    });
  }

 private:
  // Connections of one seed differ from each other, and are the same again in the next run.
  uint64_t seed_of(const Plan& plan) { return plan.seed ? *plan.seed + seeds_given_++ : env_.random.next(); }

  Env env_;
  Answers answers_;
  uint64_t seeds_given_ = 0;
};

}  // namespace

Driver<Transport> fault_driver() {
  return {"fault", usage, [](const Url&, const Env& env) {
    return Result<std::unique_ptr<Transport>>(std::make_unique<Fault>(env));
  }};
}

}  // namespace nebula
