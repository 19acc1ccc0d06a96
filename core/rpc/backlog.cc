// rpc/backlog.cc - few messages as they are, many small ones in packs.
#include "rpc/backlog.h"

namespace nebula {

namespace {

// A reader that keeps up never lets so many wait, and takes each as it came.
constexpr size_t loose_max = 64;
// A larger one costs less than its own size again. What goes before one in a pack has a bit for whether it is compressed.
constexpr size_t packed_message_max = 127;
constexpr unsigned char compressed_bit = 0x80;
// Packs are released one by one as they are read. One is full where its string, which grows by doubling, would grow
// beyond this, so that none stays half empty.
constexpr size_t pack_bytes_max = 4000;

bool has_room(const std::string& pack, size_t size) {
  return pack.size() + size <= pack.capacity() || 2 * pack.capacity() <= pack_bytes_max;
}

}  // namespace

bool Backlog::next_is_compressed() const {
  if (const Pack* pack = std::get_if<Pack>(&entries_.front())) return (pack->bytes[pack->taken] & compressed_bit) != 0;
  const Frame* frame = std::get_if<Frame>(&entries_.front());
  return frame != nullptr && frame->is_compressed;
}

bool Backlog::next_is_run() const { return std::holds_alternative<Run>(entries_.front()); }

void Backlog::push(Frame frame) {
  if (entries_.size() < loose_max || frame.payload.size() > packed_message_max)
    return static_cast<void>(entries_.emplace_back(std::move(frame)));
  Pack* last = std::get_if<Pack>(&entries_.back());
  if (last == nullptr || !has_room(last->bytes, 1 + frame.payload.size()))
    last = &std::get<Pack>(entries_.emplace_back(Pack()));
  last->bytes.push_back(static_cast<char>(frame.payload.size() | (frame.is_compressed ? compressed_bit : 0)));
  last->bytes.append(frame.payload.view());
}

void Backlog::push(Run run) {
  if (entries_.size() < loose_max) return static_cast<void>(entries_.emplace_back(std::move(run)));
  while (run.count > 1) push(Frame{take_first(&run)});
  push(Frame{std::move(run.bytes)});
}

Run Backlog::pop_run() {
  Run run = std::move(std::get<Run>(entries_.front()));
  entries_.pop_front();
  return run;
}

Frame Backlog::pop() {
  Frame frame;
  if (Pack* pack = std::get_if<Pack>(&entries_.front())) {
    unsigned char head = static_cast<unsigned char>(pack->bytes[pack->taken]);
    size_t size = head & ~compressed_bit;
    frame.is_compressed = (head & compressed_bit) != 0;
    frame.payload = Bytes::copy(std::string_view(pack->bytes).substr(pack->taken + 1, size));
    pack->taken += 1 + size;
    if (pack->taken < pack->bytes.size()) return frame;
  } else if (Run* run = std::get_if<Run>(&entries_.front())) {
    if (run->count > 1) return Frame{take_first(run)};
    frame.payload = std::move(run->bytes);
  } else {
    frame = std::move(std::get<Frame>(entries_.front()));
  }
  entries_.pop_front();
  return frame;
}

}  // namespace nebula
