// transport/mem.cc - mem:name, two ends in one process.
//
// Bytes are handed over, not copied. As with a socket, only so much is under way at a time: the rest waits with the
// sender, who sees it in unsent(), until the other end has taken some.
#include "transport/mem.h"

#include <algorithm>
#include <deque>

#include "loop/anchor.h"
#include "loop/loop.h"
#include "transport/answers.h"
#include "transport/network.h"
#include "transport/transports.h"

namespace nebula {

namespace {

// About what a socket holds.
constexpr size_t under_way_max = 256u << 10;

class MemConn;

// What two ends know of each other. Counted, for either may go first; an end is told apart by its side, 0 or 1.
struct MemLink {
  struct Side {
    Loop* loop = nullptr;     // under the lock; null: this end has gone, and its loop may have
    MemConn* conn = nullptr;  // belongs to that loop
  };

  std::mutex lock;
  Side sides[2];

  // Runs `then` on the loop of that side, if its end still lives when its turn comes.
  static void post(const std::shared_ptr<MemLink>& link, int side, Fn<void(MemConn&)> then) {
    std::lock_guard<std::mutex> hold(link->lock);
    // An end leaves the link before its loop is destroyed; so under the lock the loop lives.
    if (link->sides[side].loop == nullptr) return;
    link->sides[side].loop->post([link, side, then = std::move(then)]() mutable {
      if (MemConn* conn = link->sides[side].conn; conn != nullptr) then(*conn);
    });
  }
};

class MemConn final : public Conn {
 public:
  // May be made on another loop than its own, and be moved there.
  MemConn(Loop& loop, std::shared_ptr<MemLink> link, int side, std::string address)
      : loop_(loop), link_(std::move(link)), side_(side) {
    peer_.address = std::move(address);
    std::lock_guard<std::mutex> hold(link_->lock);
    link_->sides[side_] = {&loop_, this};
  }

  ~MemConn() override {
    {
      std::lock_guard<std::mutex> hold(link_->lock);
      link_->sides[side_] = {};
    }
    if (is_closed_) return;
    tell_other([batch = std::move(queue_)](MemConn& other) mutable {
      other.has_ended_ = true;
      other.receive(std::move(batch));
    });
  }

  void start(ConnEvents& up) override {
    NEBULA_ASSERT(up_ == nullptr);
    up_ = &up;
    deliver_later();
  }

  void write(Bytes data) override {
    if (is_closed_ || data.empty()) return;
    unsent_ += data.size();
    queue_.push_back(std::move(data));
    if (std::exchange(flush_is_due_, true)) return;
    loop_.later([self = anchor_.ref()] {
      if (self.get() == nullptr) return;
      self.get()->flush_is_due_ = false;
      self.get()->flush();
    });
  }

  size_t unsent() const override { return unsent_; }

  void pause(bool on) override {
    is_paused_ = on;
    if (!on) deliver_later();
  }

  const Peer& peer() const override { return peer_; }

 private:
  void tell_other(Fn<void(MemConn&)> then) { MemLink::post(link_, 1 - side_, std::move(then)); }

  void flush() {
    std::deque<Bytes> batch;
    while (!queue_.empty() && under_way_ < under_way_max) {
      under_way_ += queue_.front().size();
      unsent_ -= queue_.front().size();
      batch.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    if (is_closed_ || batch.empty()) return;
    tell_other([batch = std::move(batch)](MemConn& other) mutable { other.receive(std::move(batch)); });
    if (unsent_ == 0) up_->on_drained();
  }

  void receive(std::deque<Bytes> batch) {
    for (Bytes& bytes : batch) inbox_.push_back(std::move(bytes));
    deliver();
  }

  void deliver_later() {
    if (inbox_.empty() && !has_ended_) return;
    loop_.later([self = anchor_.ref()] {
      if (self.get() != nullptr) self.get()->deliver();
    });
  }

  void deliver() {
    Anchor<MemConn>::Ref self = anchor_.ref();
    size_t taken = 0;
    while (up_ != nullptr && !is_paused_ && !is_closed_ && !inbox_.empty()) {
      Bytes bytes = std::move(inbox_.front());
      inbox_.pop_front();
      taken += bytes.size();
      up_->on_bytes(std::move(bytes));
      if (self.get() == nullptr) return;
    }
    if (taken > 0) {
      tell_other([taken](MemConn& other) {
        other.under_way_ -= std::min(taken, other.under_way_);
        other.flush();
      });
    }
    if (up_ == nullptr || is_paused_ || is_closed_ || !has_ended_) return;
    is_closed_ = true;
    queue_.clear();
    unsent_ = 0;
    up_->on_closed({});
  }

  Loop& loop_;
  std::shared_ptr<MemLink> link_;
  int side_;
  Peer peer_;
  ConnEvents* up_ = nullptr;
  std::deque<Bytes> queue_;
  size_t unsent_ = 0;
  size_t under_way_ = 0;  // handed over and not yet taken
  std::deque<Bytes> inbox_;
  bool is_paused_ = false;
  bool flush_is_due_ = false;
  bool has_ended_ = false;  // the other end is gone; the inbox still counts
  bool is_closed_ = false;
  Anchor<MemConn> anchor_{*this};
};

}  // namespace

class MemListener final : public Listener {
 public:
  using OnConn = Fn<void(std::unique_ptr<Conn>)>;

  static Result<std::unique_ptr<Listener>> make(Loop& loop, MemHub& hub, const Url& at, OnConn on_conn) {
    std::unique_ptr<MemListener> listener(new MemListener(loop, hub, at, std::move(on_conn)));
    Status status = hub.add(at.path, at.option("share") == "1", listener->door_);
    if (!status.ok()) return status;
    return std::unique_ptr<Listener>(std::move(listener));
  }

  ~MemListener() override {
    hub_.remove(url_.path, door_.get());
    door_->listener = nullptr;
  }

  Url url() const override { return url_; }

  Url share() override {
    Url url = url_;
    url.set_option("share", "1");
    return url;
  }

  void accept(std::unique_ptr<Conn> conn) {
    // The function may destroy the listener; it stands here meanwhile, so that it does not destroy itself.
    OnConn on_conn = std::move(on_conn_);
    Anchor<MemListener>::Ref self = anchor_.ref();
    on_conn(std::move(conn));
    if (self.get() != nullptr) on_conn_ = std::move(on_conn);
  }

 private:
  MemListener(Loop& loop, MemHub& hub, const Url& at, OnConn on_conn)
      : hub_(hub), url_(at), on_conn_(std::move(on_conn)), door_(std::make_shared<MemDoor>(MemDoor{loop, this})) {}

  MemHub& hub_;
  Url url_;
  OnConn on_conn_;
  std::shared_ptr<MemDoor> door_;
  Anchor<MemListener> anchor_{*this};
};

Status MemHub::add(const std::string& name, bool shares, std::shared_ptr<MemDoor> door) {
  std::lock_guard<std::mutex> hold(lock_);
  Doors& doors = names_[name];
  if (!doors.all.empty() && !shares) return already_exists("listen mem:" + name + ": the name is taken");
  doors.all.push_back(std::move(door));
  return {};
}

void MemHub::remove(const std::string& name, const MemDoor* door) {
  std::lock_guard<std::mutex> hold(lock_);
  auto found = names_.find(name);
  if (found == names_.end()) return;
  std::erase_if(found->second.all, [door](const std::shared_ptr<MemDoor>& other) { return other.get() == door; });
  if (found->second.all.empty()) names_.erase(found);
}

bool MemHub::visit(const std::string& name, Fn<void(const std::shared_ptr<MemDoor>&)> visitor) {
  std::lock_guard<std::mutex> hold(lock_);
  auto found = names_.find(name);
  if (found == names_.end()) return false;
  Doors& doors = found->second;
  visitor(doors.all[doors.next++ % doors.all.size()]);
  return true;
}

namespace {

class Mem final : public Transport {
 public:
  Mem(Loop& loop, MemHub& hub) : loop_(loop), hub_(hub), answers_(loop) {}

  Result<std::unique_ptr<Listener>> listen(const Url& at, Fn<void(std::unique_ptr<Conn>)> on_conn) override {
    if (at.path.empty()) return invalid_argument("listen mem: no name; write mem:name");
    return MemListener::make(loop_, hub_, at, std::move(on_conn));
  }

  void dial(const Url& to, Done<std::unique_ptr<Conn>> done) override {
    std::string address = "mem:" + to.path;
    std::unique_ptr<Conn> ours;
    bool found = hub_.visit(to.path, [this, &address, &ours](const std::shared_ptr<MemDoor>& door) {
      std::shared_ptr<MemLink> link = std::make_shared<MemLink>();
      ours = std::make_unique<MemConn>(loop_, link, 0, address);
      // If the listener or its loop has gone by then, this end is destroyed, and the other hears of it.
      std::unique_ptr<Conn> theirs = std::make_unique<MemConn>(door->loop, link, 1, address);
      door->loop.post([door, theirs = std::move(theirs)]() mutable {
        if (door->listener != nullptr) door->listener->accept(std::move(theirs));
      });
    });
    Status nobody = unavailable("dial " + address + ": nobody listens at " + address);
    answers_.later(found ? Answers::DialResult(std::move(ours)) : std::move(nobody), std::move(done));
  }

 private:
  Loop& loop_;
  MemHub& hub_;
  Answers answers_;
};

}  // namespace

Driver<Transport> mem_driver() {
  return {"mem", "mem:name", [](const Url&, const Env& env) {
    return Result<std::unique_ptr<Transport>>(std::make_unique<Mem>(env.loop, env.network.hub()));
  }};
}

}  // namespace nebula
