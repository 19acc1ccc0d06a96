// capi/nested.cc - a call that is made while handling another one.
#include "call_start.h"

using namespace nebula;

extern "C" {

uint64_t nebula_call_start_under(nebula_queue* queue, uint64_t method, uint64_t tag, uint64_t timeout_us,
                                 const void* metadata, uint32_t metadata_size, const void* data, uint32_t size,
                                 uint32_t flags, uint64_t parent) {
  return start_call(queue, method, tag, timeout_us, metadata, metadata_size, data, size, flags, parent);
}

}  // extern "C"
