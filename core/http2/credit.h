// http2/credit.h - what the peer may send us, of a stream or of the connection (RFC 9113, 5.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace nebula {

class Credit {
 public:
  // It has sent so much. False: more than it may.
  bool take(size_t bytes, int32_t window) { return (used_ += static_cast<int64_t>(bytes)) <= window; }

  // So much of it needs no room any more. What a WINDOW_UPDATE should say by now; 0: nothing yet, for half a window at
  // a time is enough.
  uint32_t give_back(size_t bytes, int32_t window) {
    due_ += static_cast<int64_t>(bytes);
    if (due_ < window / 2) return 0;
    used_ -= due_;
    return static_cast<uint32_t>(std::exchange(due_, 0));
  }

 private:
  int64_t used_ = 0;  // of the window
  int64_t due_ = 0;   // of that, what may be used again
};

}  // namespace nebula
