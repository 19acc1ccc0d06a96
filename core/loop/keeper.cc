// loop/keeper.cc - a thread that leaves the process's descriptor table, locks a file in its own, and sleeps.
//
// The one atomic is all that both threads share while the keeper runs. It is waited on, where a condition variable
// could serve as well, because a forked child copies this object without its thread: destroying a condition variable
// with a waiter that does not exist would hang.
#include "loop/keeper.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "loop/thread.h"

#if defined(__SANITIZE_THREAD__)
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

namespace nebula {

namespace {

// Their numbers are the same everywhere; older headers lack them.
constexpr long close_range_number = 436;
constexpr unsigned close_range_unshare = 1u << 1;

// ThreadSanitizer believes in one table for each process, and takes this thread's descriptor 0 for everybody's.
struct OwnDescriptors {
#if defined(__SANITIZE_THREAD__)
  OwnDescriptors() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~OwnDescriptors() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#endif
};

}  // namespace

Result<std::unique_ptr<Keeper>> Keeper::start(const std::string& directory, const std::string& name) {
  std::unique_ptr<Keeper> keeper(new Keeper(directory, name));
  auto body = [](void* self) { static_cast<Keeper*>(self)->run(); };
  if (Status status = start_thread("nebula-keeper", body, keeper.get(), &keeper->thread_); !status.ok()) return status;
  keeper->has_thread_ = true;
  return keeper;
}

Keeper::~Keeper() {
  if (!has_thread_ || fork_generation() != fork_generation_) return;
  state_ = ended;
  state_.notify_all();
  pthread_join(thread_, nullptr);
}

Status Keeper::ready() {
  state_.wait(starting);
  return state_ == failed ? trouble_ : Status();
}

bool Keeper::is_missing() const { return state_ == holding && !is_in_place(); }

bool Keeper::is_in_place() const { return file_id(AT_FDCWD, directory_ + "/" + name_) == id_; }

void Keeper::run() {
  [[maybe_unused]] OwnDescriptors own;
  Result<int> file = take();
  if (file.ok()) {
    id_ = file_id(*file);
  } else {
    trouble_ = file.status();
  }
  // It may have been ended already.
  uint32_t before = starting;
  if (state_.compare_exchange_strong(before, file.ok() ? holding : failed)) state_.notify_all();
  if (!file.ok()) return;
  state_.wait(holding);
  // Removed before it is released, so that nobody takes the orderly end for a death.
  if (is_in_place()) unlink((directory_ + "/" + name_).c_str());
  close(*file);
}

Result<int> Keeper::take() {
  // Own and empty: with a mere copy of the table every socket of the process would stay open with this thread.
  if (syscall(close_range_number, 0u, ~0u, close_range_unshare) != 0)
    return system_error("give the keeper thread its own descriptors", errno);
  // Not in an Fd: the numbers of this table say nothing to a forked child.
  int directory = open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return system_error("open " + directory_, errno);
  Result<int> file = place_locked(directory, name_, "");
  close(directory);
  return file;
}

}  // namespace nebula
