// loop/housekeeper.cc - one epoll over the descriptors of all loops, and when to believe that a poller is stuck.
//
// A loop of which nothing is known is armed for one report. Reported, it is left to its poller for a while: so under
// load the housekeeper wakes up some fifty times a second, however many polls there are. If there was none, it drives.
// From then on each arrival is reported (edge-triggered: what waits for the poller keeps the descriptor readable), and
// handled at once, until there is a poll.
#include "loop/housekeeper.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "loop/thread.h"

namespace nebula {

namespace {

// A poller that does not come within this time is stuck. The first ping waits so long, or twice that.
constexpr Duration look_interval = ms(20);
constexpr int reports_max = 64;
constexpr uint64_t end_id = 0;

constexpr uint32_t never = 0;
constexpr uint32_t once = EPOLLIN | EPOLLONESHOT;
constexpr uint32_t each_arrival = EPOLLIN | EPOLLET;

bool is_readable(int fd) {
  pollfd asked{fd, POLLIN, 0};
  return ::poll(&asked, 1, 0) > 0;
}

}  // namespace

// ---- KeptLoop

KeptLoop::Poll::Poll(KeptLoop& loop) : loop_(loop), is_alone_(!loop.in_poll_.exchange(true)) {
  if (!is_alone_) return;
  loop_.polls_++;
  loop_.poller_ = pthread_self();
  drive_ = std::unique_lock(loop_.lock_);
  // A mutex is not fair: the thread that polls in a loop would have it again before the other one woke up.
  loop_.setup_over_.wait(drive_, [this] { return loop_.setups_ == 0; });
  loop_.loop_.show(false);
}

KeptLoop::Poll::~Poll() {
  if (!is_alone_) return;
  drive_.unlock();
  loop_.polls_++;
  loop_.in_poll_ = false;
}

KeptLoop::Setup::Setup(KeptLoop& loop) : loop_(loop) {
  loop_.setups_++;
  loop_.loop_.post([] {});  // ends a wait
  loop_.lock_.lock();
}

KeptLoop::Setup::~Setup() {
  loop_.setups_--;
  loop_.lock_.unlock();
  loop_.setup_over_.notify_all();
}

KeptLoop::KeptLoop(UvLoop& loop, Housekeeper* housekeeper, Fn<bool()> has_events)
    : loop_(loop), housekeeper_(housekeeper), has_events_(std::move(has_events)) {
  if (housekeeper_ != nullptr) housekeeper_->add(*this);
}

KeptLoop::~KeptLoop() {
  if (housekeeper_ != nullptr) housekeeper_->remove(*this);
}

bool KeptLoop::drive() {
  std::unique_lock<std::mutex> drive(lock_, std::try_to_lock);
  if (!drive.owns_lock()) return false;
  loop_.run_unattended();
  if (has_events_()) loop_.show(true);
  return true;
}

// ---- Housekeeper

Result<std::unique_ptr<Housekeeper>> Housekeeper::start() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return system_error("housekeeper: epoll", errno);
  TRY(EventFd end, EventFd::make());
  epoll_event wanted{EPOLLIN, {.u64 = end_id}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, end.get(), &wanted) != 0)
    return system_error("housekeeper: epoll", errno);
  std::unique_ptr<Housekeeper> keeper(new Housekeeper(std::move(epoll), std::move(end)));
  auto body = [](void* self) { static_cast<Housekeeper*>(self)->run(); };
  if (Status status = start_thread("nebula-house", body, keeper.get(), &keeper->thread_); !status.ok()) {
    keeper->has_ended_ = true;
    return status;
  }
  return keeper;
}

Housekeeper::~Housekeeper() {
  NEBULA_ASSERT(loops_.empty());
  if (has_ended_) return;  // it has not begun
  {
    std::lock_guard<std::mutex> hold(lock_);
    has_ended_ = true;
  }
  end_.signal();
  pthread_join(thread_, nullptr);
}

void Housekeeper::add(KeptLoop& loop) {
  std::lock_guard<std::mutex> hold(lock_);
  loop.id_ = ++last_id_;
  loops_.emplace(loop.id_, &loop);
  epoll_event wanted{once, {.u64 = loop.id_}};
  int error = ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, loop.loop_.fd(), &wanted);
  NEBULA_ASSERT(error == 0 || errno == ENOMEM || errno == ENOSPC);  // then it is a loop that nobody keeps
}

// A report of it that is on its way names an id that nobody has.
void Housekeeper::remove(KeptLoop& loop) {
  std::lock_guard<std::mutex> hold(lock_);
  loops_.erase(loop.id_);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, loop.loop_.fd(), nullptr);
}

void Housekeeper::run() {
  int wait = -1;
  while (true) {
    epoll_event reports[reports_max];
    int count = ::epoll_wait(epoll_.get(), reports, reports_max, wait);
    std::lock_guard<std::mutex> hold(lock_);
    if (has_ended_) return;
    for (int i = 0; i < count; i++) {
      uint64_t id = reports[i].data.u64;  // a copy: the struct is packed
      if (auto found = loops_.find(id); found != loops_.end()) look(*found->second);
    }
    Time now = monotonic_now();
    for (auto& [id, loop] : loops_)
      if (loop->watch_ == KeptLoop::Watch::suspect && loop->due_ <= now) look_again(*loop, now);
    wait = wait_ms();
  }
}

void Housekeeper::look(KeptLoop& loop) {
  bool is_stuck = loop.watch_ == KeptLoop::Watch::driven && loop.polls_ == loop.polls_seen_;
  if (is_stuck && loop.drive()) return;  // this thread never waits for who drives
  suspect(loop);
}

void Housekeeper::look_again(KeptLoop& loop, Time now) {
  if (loop.polls_ != loop.polls_seen_) {
    loop.polls_seen_ = loop.polls_;
    loop.due_ = now + look_interval;
  } else if (loop.in_poll_ || !is_readable(loop.loop_.fd())) {
    loop.watch_ = KeptLoop::Watch::quiet;
    arm(loop, once);
  } else if (loop.drive()) {
    loop.watch_ = KeptLoop::Watch::driven;
    arm(loop, each_arrival);
  } else {
    suspect(loop);
  }
}

void Housekeeper::suspect(KeptLoop& loop) {
  if (loop.watch_ != KeptLoop::Watch::suspect) arm(loop, never);
  loop.watch_ = KeptLoop::Watch::suspect;
  loop.polls_seen_ = loop.polls_;
  loop.due_ = monotonic_now() + look_interval;
}

void Housekeeper::arm(KeptLoop& loop, uint32_t events) {
  epoll_event wanted{events, {.u64 = loop.id_}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, loop.loop_.fd(), &wanted);
}

int Housekeeper::wait_ms() const {
  Time first = Time::never();
  for (const auto& [id, loop] : loops_)
    if (loop->watch_ == KeptLoop::Watch::suspect) first = std::min(first, loop->due_);
  if (first.is_never()) return -1;
  return static_cast<int>(std::max<int64_t>((first - monotonic_now() + nanos(999999)).ms(), 0));
}

}  // namespace nebula
