// http2/h2_heads.cc - header blocks that come: requests, responses, trailers.
#include "base/limits.h"
#include "http2/h2_session.h"

namespace nebula {

namespace {

// Adds one received field, or marks the head as too large and drops it.
void add_received(Head* head, const Field& field) {
  if (head->too_large) return;
  size_t size = head->fields.list_size() + field.name.size() + field.value.size() + 32;
  head->too_large = size > limits::metadata_bytes_max || head->fields.count() >= limits::metadata_fields_max;
  if (!head->too_large) head->fields.add(field.name, field.value);
}

}  // namespace

bool H2Session::on_head_begin(uint32_t id, bool last) {
  arriving_ = {};
  arriving_.id = id;
  arriving_.last = last;
  H2Stream* stream = find(id);
  if (stream == nullptr && is_server_) return begin_request(id);
  if (stream == nullptr) return may_be_late(id);
  if (stream->peer_ended_) return fail(h2::stream_closed, "HEADERS after the end");
  arriving_.is_wanted = !stream->is_resetting_;
  arriving_.kind = is_server_ || stream->has_peers_head_ ? HeadKind::trailers : HeadKind::response;
  arriving_.rules = HeadRules(arriving_.kind);
  return true;
}

bool H2Session::begin_request(uint32_t id) {
  if (id % 2 == 0 || id <= last_id_) return may_be_late(id);
  last_id_ = id;
  if (has_said_last_) return has_left_streams_ = true;
  if (!may_take_stream()) {
    send_reset(id, h2::refused_stream);
    return charge(wasted_streams_, "too many streams");
  }
  last_taken_id_ = id;
  arriving_.is_wanted = true;
  arriving_.stream = std::make_unique<H2Stream>(*this, nullptr);
  arriving_.stream->id_ = id;
  arriving_.stream->opened_ = loop_.now();
  add(arriving_.stream.get());
  put_on_wire(arriving_.stream.get());
  return true;
}

bool H2Session::on_head(std::string_view part, bool is_whole) {
  bool is_all = is_whole && !arriving_.has_begun;
  arriving_.has_begun = true;
  if (!is_all || !arriving_.is_wanted)
    known_heads_.forget();  // for it may change the table
  else if (take_known(&part))
    return end_head();
  return decode(part, is_whole);
}

// What has been said before need not be decoded again. True: that is all of the block.
bool H2Session::take_known(std::string_view* block) {
  const BlockMemo<KnownHead>::Entry* known = known_heads_.find(*block);
  if (known != nullptr && known->value.kind == arriving_.kind) {
    arriving_.head.fields = known->value.fields;
    arriving_.rules = known->value.rules;
    arriving_.bytes = known->value.bytes;
    block->remove_prefix(known->block.size());
    if (block->empty()) return true;
  } else {
    arriving_.to_keep = *block;
  }
  if (leaves_table(*block)) return false;
  known_heads_.forget();
  arriving_.to_keep = {};
  return false;
}

// What came of the block until now.
void H2Session::keep(std::string_view block) {
  arriving_.to_keep = {};
  KnownHead* known = arriving_.is_wanted && !arriving_.head.too_large ? known_heads_.keep(block) : nullptr;
  if (known != nullptr) *known = {arriving_.kind, arriving_.rules, arriving_.head.fields, arriving_.bytes};
}

bool H2Session::decode(std::string_view part, bool is_whole) {
  decoder_.feed(part, is_whole);
  while (true) {
    size_t taken = part.size() - decoder_.left();
    Field field;
    switch (decoder_.next(&field)) {
      case HpackDecoder::Step::field:
        if (!arriving_.to_keep.empty() && varies(field.name)) keep(part.substr(0, taken));
        if (!take_field(field)) return false;
        break;
      case HpackDecoder::Step::more: return true;
      case HpackDecoder::Step::end:
        if (!arriving_.to_keep.empty()) keep(part);
        return end_head();
      case HpackDecoder::Step::bad: return fail(h2::compression_error, "a header block that can't be decoded");
    }
  }
}

bool H2Session::take_field(const Field& field) {
  arriving_.bytes += field.name.size() + field.value.size() + 32;
  if (arriving_.bytes > limits::metadata_bytes_hostile) {  // what is left of it would be decoded for nothing
    shut(h2::enhance_your_calm, "a head is too large");
    return false;
  }
  if (!arriving_.is_wanted) return true;
  if (!arriving_.rules.allows(field.name, field.value)) return refuse_head();
  add_received(&arriving_.head, field);
  return true;
}

bool H2Session::refuse_head() {
  arriving_.is_wanted = false;
  if (arriving_.stream == nullptr) {
    H2Stream* stream = find(arriving_.id);
    return stream == nullptr || refuse(stream, h2::protocol_error);
  }
  send_reset(arriving_.id, h2::protocol_error);  // nobody has heard of it
  remove(arriving_.stream.get());
  arriving_.stream.reset();
  return charge(wasted_streams_, "too many bad frames");
}

bool H2Session::end_head() {
  H2Stream* stream = arriving_.is_wanted ? find(arriving_.id) : nullptr;
  if (stream == nullptr) return true;
  const HeadRules& rules = arriving_.rules;
  bool is_final = !rules.is_informational();
  bool has_its_end = arriving_.kind == HeadKind::trailers ? arriving_.last : is_final || !arriving_.last;
  if (!rules.is_complete() || !has_its_end) return refuse_head();
  if (arriving_.kind != HeadKind::trailers && is_final) {
    stream->promised_ = rules.body_bytes();
    stream->has_peers_head_ = true;
  }
  if (arriving_.last && !ends_as_promised(stream)) return refuse_head();
  deliver_head(stream);
  return goes_on();
}

void H2Session::deliver_head(H2Stream* stream) {
  uint32_t id = arriving_.id;
  bool last = arriving_.last;
  stream->peer_ended_ = last;
  bool is_large = arriving_.bytes > limits::metadata_bytes_soft;
  if (is_large && !std::exchange(had_large_head_, true)) up_.on_large_head(arriving_.bytes);
  if (arriving_.stream != nullptr) {
    StreamEvents& events = up_.on_stream(std::move(arriving_.stream));
    if (find(id) == nullptr) return;  // it is not wanted
    stream->events_ = &events;
  }
  stream->events_->on_headers(std::move(arriving_.head), last);
  if (last) end_if_both(id);
}

}  // namespace nebula
