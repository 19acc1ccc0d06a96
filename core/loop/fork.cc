// loop/fork.cc - a bitmap indexed by descriptor, and the handlers around fork.
//
// One of the files where locks are allowed. The lock is held across the fork, so that the child finds the map whole.
#include "loop/fork.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/assert.h"

namespace nebula {

namespace {

// Never freed: threads that still run while the process exits may come here.
constinit std::mutex map_lock;
constinit uint64_t* map = nullptr;
constinit size_t map_words = 0;
constinit bool has_handlers = false;
constinit std::atomic<uint64_t> generation{0};

void before_fork() { map_lock.lock(); }

void after_fork_in_parent() { map_lock.unlock(); }

void after_fork_in_child() {
  for (size_t word = 0; word < map_words; word++)
    for (uint64_t bits = std::exchange(map[word], 0); bits != 0; bits &= bits - 1)
      ::close(static_cast<int>(word * 64) + __builtin_ctzll(bits));
  generation.fetch_add(1, std::memory_order_relaxed);
  map_lock.unlock();
}

void grow_to(size_t words) {
  void* grown = std::realloc(map, words * sizeof(uint64_t));
  NEBULA_ASSERT(grown != nullptr);
  map = static_cast<uint64_t*>(grown);
  std::memset(map + map_words, 0, (words - map_words) * sizeof(uint64_t));
  map_words = words;
}

}  // namespace

void close_in_child(int fd) {
  NEBULA_ASSERT(fd >= 0);
  std::lock_guard<std::mutex> hold(map_lock);
  if (!has_handlers) has_handlers = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
  size_t word = static_cast<size_t>(fd) / 64;
  if (word >= map_words) grow_to(word * 2 + 16);
  map[word] |= uint64_t{1} << (fd % 64);
}

void keep_in_child(int fd) {
  NEBULA_ASSERT(fd >= 0);
  std::lock_guard<std::mutex> hold(map_lock);
  size_t word = static_cast<size_t>(fd) / 64;
  if (word < map_words) map[word] &= ~(uint64_t{1} << (fd % 64));
}

uint64_t fork_generation() { return generation.load(std::memory_order_relaxed); }

void Fd::reset() {
  int fd = std::exchange(fd_, -1);
  if (fd < 0 || generation_ != fork_generation()) return;
  keep_in_child(fd);
  ::close(fd);
}

}  // namespace nebula
