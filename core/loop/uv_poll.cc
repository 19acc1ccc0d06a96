// loop/uv_poll.cc - a uv_poll_t whose memory stays until its close callback.
#include "loop/uv_poll.h"

#include <uv.h>

#include "loop/uv_loop.h"

namespace nebula {

struct UvPoll::Handle {
  uv_poll_t poll;
  UvLoop& loop;
  Ready ready;
  int wanted = 0;
  bool is_calling = false;
  bool is_over = false;

  static Handle* of(uv_poll_t* poll) { return static_cast<Handle*>(poll->data); }

  void start() {
    // Fails only for bad arguments: the descriptor was found good when the handle was made.
    int error = uv_poll_start(&poll, wanted, on_ready);
    NEBULA_ASSERT(error == 0);
    loop.touched();
  }

  static void on_ready(uv_poll_t* poll, int error, int events) {
    Handle* handle = of(poll);
    handle->loop.woke();
    if (error != 0) events = handle->wanted;
    handle->is_calling = true;
    handle->ready((events & UV_READABLE) != 0, (events & UV_WRITABLE) != 0);
    handle->is_calling = false;
    if (handle->is_over) {
      handle->ready = {};
    } else if (error != 0 && !uv_is_active(reinterpret_cast<uv_handle_t*>(poll)) && handle->wanted != 0) {
      // libuv stops at an error of the descriptor. The owner did not mind, so it hears of it again.
      handle->start();
    }
  }
};

Result<std::unique_ptr<UvPoll>> UvPoll::make(UvLoop& loop, int fd, Ready ready) {
  Handle* handle = new Handle{{}, loop, std::move(ready)};
  int error = uv_poll_init(loop.handle(), &handle->poll, fd);
  if (error != 0) {
    delete handle;
    return system_error("watch descriptor " + std::to_string(fd), -error);
  }
  handle->poll.data = handle;
  loop.poll_count_++;
  return std::unique_ptr<UvPoll>(new UvPoll(handle));
}

UvPoll::~UvPoll() {
  handle_->is_over = true;
  handle_->loop.poll_count_--;
  // What `ready` holds must not wait for the close callback, but it can't go while it runs.
  if (!handle_->is_calling) handle_->ready = {};
  uv_close(reinterpret_cast<uv_handle_t*>(&handle_->poll),
           [](uv_handle_t* closed) { delete Handle::of(reinterpret_cast<uv_poll_t*>(closed)); });
  handle_->loop.touched();
}

void UvPoll::want(bool readable, bool writable) {
  int wanted = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
  if (wanted == handle_->wanted) return;
  handle_->wanted = wanted;
  if (wanted == 0) {
    uv_poll_stop(&handle_->poll);
  } else {
    handle_->start();
  }
}

}  // namespace nebula
