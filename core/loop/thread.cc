// loop/thread.cc - block, create, restore.
#include "loop/thread.h"

#include <csignal>
#include <memory>
#include <string>

#include "base/result.h"

namespace nebula {

namespace {

struct Start {
  void (*body)(void*);
  void* self;
};

}  // namespace

Status start_thread(const char* name, void (*body)(void* self), void* self, pthread_t* out) {
  std::unique_ptr<Start> start = std::make_unique<Start>(Start{body, self});
  // The mask is inherited; so there is no moment at which the new thread could be given a signal.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(out, nullptr, [](void* given) -> void* {
    std::unique_ptr<Start> start(static_cast<Start*>(given));
    start->body(start->self);
    return nullptr;
  }, start.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return system_error(std::string("start the thread ") + name, error);
  start.release();  // the thread's own
  pthread_setname_np(*out, std::string(name).substr(0, 15).c_str());
  return {};
}

}  // namespace nebula
