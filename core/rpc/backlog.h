// rpc/backlog.h - messages that wait for their reader, in little more memory than their bytes.
//
// A message by itself has a block and a place, some 90 bytes: a window of 1 MiB holds 200,000 empty ones, so the bytes
// that are under way bound nothing. Small ones are therefore packed together as soon as many wait. An inbox's member.
#pragma once

#include <deque>
#include <string>
#include <variant>

#include "rpc/frame.h"

namespace nebula {

class Backlog {
 public:
  bool empty() const { return entries_.empty(); }
  bool next_is_compressed() const;  // of the first; there must be one
  bool next_is_run() const;         // the first ones came together; there must be one
  void push(Frame frame);
  void push(Run run);
  Frame pop();                      // the first; there must be one
  Run pop_run();                    // those that came together
  void clear() { entries_.clear(); }

 private:
  struct Pack {
    std::string bytes;  // of several messages, each behind a byte: its size, and whether it is compressed
    size_t taken = 0;
  };

  std::deque<std::variant<Frame, Run, Pack>> entries_;
};

}  // namespace nebula
