// loop/thread.h - how each thread of the engine begins: with all signals blocked, so that the program's own get them.
#pragma once

#include <pthread.h>

#include "base/status.h"

namespace nebula {

// `name`: as it shows in ps and debuggers; the system keeps 15 characters. Runs body(self) on the new thread, which the
// caller joins.
Status start_thread(const char* name, void (*body)(void* self), void* self, pthread_t* out);

}  // namespace nebula
