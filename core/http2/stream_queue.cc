// http2/stream_queue.cc - links.
#include "http2/stream_queue.h"

#include "http2/h2_session.h"

namespace nebula {

void StreamQueue::push(H2Stream* stream) {
  remove(stream);
  stream->place_ = {this, nullptr, end_};
  *end_ = stream;
  end_ = &stream->place_.next;
}

H2Stream* StreamQueue::pop() {
  H2Stream* stream = first_;
  remove(stream);
  return stream;
}

void StreamQueue::remove(H2Stream* stream) {
  Place& place = stream->place_;
  if (place.queue == nullptr) return;
  *place.link = place.next;
  if (place.next != nullptr)
    place.next->place_.link = place.link;
  else
    place.queue->end_ = place.link;
  place = {};
}

void StreamQueue::take_all(StreamQueue* from) {
  while (!from->empty()) push(from->pop());
}

}  // namespace nebula
