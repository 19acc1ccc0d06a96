// http2/stream_queue.h - streams that have something to send, in turn.
//
// Links are in the streams, so that one leaves in the middle when it ends.
#pragma once

namespace nebula {

class H2Stream;

class StreamQueue {
 public:
  // Of a stream; in no queue at first.
  struct Place {
    StreamQueue* queue = nullptr;
    H2Stream* next = nullptr;
    H2Stream** link = nullptr;
  };

  StreamQueue() = default;
  StreamQueue(const StreamQueue&) = delete;
  StreamQueue& operator=(const StreamQueue&) = delete;

  bool empty() const { return first_ == nullptr; }
  void push(H2Stream* stream);      // takes it out of the one that it was in
  H2Stream* pop();                  // not of an empty one
  static void remove(H2Stream* stream);
  void take_all(StreamQueue* from);

 private:
  H2Stream* first_ = nullptr;
  H2Stream** end_ = &first_;
};

}  // namespace nebula
