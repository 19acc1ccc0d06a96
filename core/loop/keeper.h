// loop/keeper.h - Keeper: a sleeping thread that holds one locked file with a descriptor table of its own.
//
// It tells of the process's death in two cases in which a lock of the process's own table is silent: a forked child
// that inherited the table (children copy that of the thread that forks, never this one), and a large heap, which the
// kernel frees before it closes files: 60 ms for each GB. Threads close their own tables first.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "loop/files.h"

namespace nebula {

class Keeper {
 public:
  // Begins to place `name` in the directory at `directory`, and to hold it: on a busy machine a new thread comes late.
  static Result<std::unique_ptr<Keeper>> start(const std::string& directory, const std::string& name);

  // Removes the file, if it is still its own, and ends the thread. In a forked child there is no thread: does nothing.
  ~Keeper();

  // Waits until the file is held: ok, or why it never will be. Kernels before 5.9 and some sandboxes refuse the thread a
  // table of its own.
  Status ready();

  const std::string& name() const { return name_; }
  bool is_missing() const;  // the file was held, and somebody removed or replaced it

 private:
  enum State : uint32_t { starting, holding, failed, ended };

  Keeper(std::string directory, std::string name) : directory_(std::move(directory)), name_(std::move(name)) {}
  void run();
  Result<int> take();
  bool is_in_place() const;

  std::string directory_;
  std::string name_;
  Status trouble_;  // written by the thread before state_ is
  FileId id_;       // the same
  std::atomic<uint32_t> state_{starting};
  pthread_t thread_{};
  bool has_thread_ = false;
  uint64_t fork_generation_ = fork_generation();
};

}  // namespace nebula
