// sim/wish.cc - drawing wishes, and what they look like on the wire.
#include "sim/wish.h"

#include <algorithm>
#include <cstring>

namespace nebula::sim {

namespace {

// Metadata up to the first is taken by every peer of ours, from the second on by none; between, it depends on the rest.
constexpr size_t padding_fits = 12u << 10;
constexpr size_t padding_too_much = 17u << 10;
constexpr size_t padding_field_bytes = 1000;

size_t draw_bytes(const Plan& plan, Random& random) {
  size_t most = plan.message_bytes_max;
  if (plan.is_oversize && random.chance(1, 12)) return most + 1 + random.below(most);
  switch (random.below(8)) {
    case 0: return 0;
    case 1: return plan.bytes_max;
    case 2: return random.below(plan.bytes_max + 1);
    case 3: return std::min<size_t>(plan.bytes_max, random.below(4096));
    default: return std::min<size_t>(plan.bytes_max, random.below(100));
  }
}

size_t draw_padding(Random& random) {
  switch (random.below(12)) {
    case 0: return padding_too_much + random.below(100u << 10);
    case 1: return random.below(padding_fits + 1);
    case 2:
    case 3: return random.below(300);
    default: return 0;
  }
}

uint64_t draw_count(const Plan& plan, Random& random) {
  if (random.chance(1, 6)) return 0;
  if (plan.bytes_max <= 64u << 10 && random.chance(1, 16)) return 1 + random.below(500);
  return 1 + random.below(12);
}

// Streams begin and end in any way: nobody has to listen to the other until the end.
void draw_stream(const Plan& plan, Random& random, Wish* wish) {
  wish->shape = static_cast<Shape>(random.below(4));
  wish->piece_bytes_max = plan.bytes_max;
  if (streams_requests(wish->shape)) wish->request_count = draw_count(plan, random);
  if (streams_responses(wish->shape)) wish->response_count = draw_count(plan, random);
  for (Duration& pause : wish->pauses)
    if (random.chance(1, 4)) pause = us(random.between(1, random.chance(1, 4) ? 10'000 : 500));
  if (streams_requests(wish->shape)) {
    if (random.chance(1, 8)) wish->requests_max = random.below(wish->request_count + 1);
    wish->never_ends = plan.has_hung_handlers && random.chance(1, 8);
  }
  if (streams_responses(wish->shape) && random.chance(1, 8))
    wish->responses_max = random.below(wish->response_count + 1);
  if (wish->shape == Shape::unary) return;
  if (wish->answer == Wish::Answer::echo) wish->answer = Wish::Answer::body;
  if (wish->shape != Shape::bidi) return;
  wish->answers_at_once = random.chance(1, 2);
  wish->mirrors = wish->answer == Wish::Answer::body && random.chance(1, 2);
  if (!wish->mirrors) return;
  wish->answers_at_once = true;
  wish->requests_max = UINT64_MAX;
  wish->response_count = wish->request_count;
  wish->response_bytes = wish->request_bytes;
}

Duration draw_timeout(Random& random) {
  switch (random.below(10)) {
    case 0: return nanos(random.between(-1000, 1000));
    case 1: return us(random.between(1, 3000));
    case 2:
    case 3: return ms(random.between(1, 100));
    case 4:
    case 5: return ms(random.between(50, 2000));
    case 6: return nanos(random.between(1, wish_max.ns));
    default: return {INT64_MAX};
  }
}

Duration draw_patience(Random& random) {
  if (random.chance(1, 10)) return {};
  return nanos(random.between(1, random.chance(1, 2) ? ms(1).ns : sec(2).ns));
}

void draw_handler(const Plan& plan, Random& random, Wish* wish) {
  wish->answer = random.chance(1, 2) ? Wish::Answer::echo : Wish::Answer::body;
  if (plan.has_slow_handlers && random.chance(1, 3)) wish->work = ms(random.between(0, random.chance(1, 8) ? 5000 : 100));
  wish->hangs = plan.has_hung_handlers && random.chance(1, 8);
  wish->upset = static_cast<Wish::Upset>(random.below(4));
  if (!plan.has_errors || !random.chance(1, 5)) return;
  constexpr Code errors[] = {Code::unknown, Code::invalid_argument, Code::not_found, Code::aborted, Code::data_loss};
  wish->answer = random.chance(1, 5) ? Wish::Answer::forget : Wish::Answer::error;
  if (wish->answer == Wish::Answer::error) wish->error = errors[random.below(std::size(errors))];
  if (plan.has_metadata && random.chance(1, 8)) wish->error_bytes = random.below(100'000);
}

bool is_too_much(size_t padding) { return padding >= padding_too_much; }

Bytes pattern(uint64_t seed, size_t size) {
  Block* block = Block::make(size);
  NEBULA_ASSERT(block != nullptr);
  Random random(seed);
  for (size_t at = 0; at < size; at += 8) {
    uint64_t word = random.next();
    std::memcpy(block->data() + at, &word, std::min<size_t>(8, size - at));
  }
  block->set_size(size);
  return Bytes::adopt(block);
}

void add_padding(Metadata* metadata, size_t bytes) {
  for (size_t at = 0; at < bytes; at += padding_field_bytes)
    metadata->add("x-padding", std::string(std::min(padding_field_bytes, bytes - at), 'a'));
}

}  // namespace

Wish Wish::draw(const Plan& plan, Random& random) {
  Wish wish;
  wish.service = service_name(static_cast<int>(random.below(static_cast<uint64_t>(plan.services))));
  draw_handler(plan, random, &wish);
  wish.request_bytes = draw_bytes(plan, random);
  wish.response_bytes = draw_bytes(plan, random);
  if (plan.has_streams && random.chance(1, 2)) draw_stream(plan, random, &wish);
  if (plan.has_metadata && wish.answer != Answer::error) wish.response_padding = draw_padding(random);
  if (plan.has_metadata) wish.request_padding = draw_padding(random);
  if (plan.has_deadlines) wish.timeout = draw_timeout(random);
  wish.waits = plan.has_waits && random.chance(1, 3);
  if (plan.has_cancels && random.chance(1, 5))
    wish.cancel_after = draw_patience(random);
  if (!plan.has_strangers || !random.chance(1, 10)) return wish;
  wish.target = random.chance(1, 2) ? Target::no_method : Target::no_service;
  if (wish.target == Target::no_service) wish.service = "nobody";
  return wish;
}

Wish Wish::plain(std::string service, Shape shape, Duration timeout, bool waits) {
  Wish wish;
  wish.service = std::move(service);
  wish.shape = shape;
  wish.request_bytes = 100;
  wish.piece_bytes_max = 100;
  if (streams_requests(shape)) wish.request_count = 3;
  if (streams_responses(shape)) wish.response_count = 3;
  if (shape != Shape::unary) wish.answer = Answer::body;
  wish.timeout = timeout;
  wish.waits = waits;
  return wish;
}

std::string Wish::path() const {
  static constexpr std::string_view methods[] = {"/Echo", "/Collect", "/List", "/Chat"};
  return "/" + service + (target == Target::no_method ? "/Nothing" : std::string(methods[static_cast<size_t>(shape)]));
}

bool Wish::needs_all_requests() const {
  return !(answers_at_once && !mirrors) && requests_max >= request_count + (never_ends ? 0 : 1);
}

bool Wish::ends_by_itself() const {
  bool waits_for_end = never_ends && (mirrors || (!answers_at_once && requests_max > request_count));
  return !hangs && !waits_for_end && !(target == Target::no_service && waits);
}

std::string service_name(int index) { return index == 0 ? "shop" : "shop." + std::to_string(index); }

Code code_of(const Wish& wish, const Plan& plan) {
  if (wish.target == Wish::Target::no_service) return Code::unavailable;
  if (is_too_much(wish.request_padding)) return Code::resource_exhausted;
  if (wish.target == Wish::Target::no_method) return Code::unimplemented;
  bool is_oversize = wish.request_bytes > plan.message_bytes_max && wish.request_count > 0;
  if (is_oversize && wish.needs_all_requests()) return Code::resource_exhausted;
  if (wish.answer == Wish::Answer::forget) return Code::internal;
  if (wish.answer == Wish::Answer::error) return wish.error;
  if (is_too_much(wish.response_padding)) return Code::resource_exhausted;
  if (wish.response_count == 0) return Code::ok;
  size_t response_bytes = wish.answer == Wish::Answer::echo ? wish.request_bytes : wish.response_bytes;
  return response_bytes > plan.message_bytes_max ? Code::resource_exhausted : Code::ok;
}

bool may_be_oversize(const Wish& wish, const Plan& plan) {
  bool is_request =
      streams_requests(wish.shape) && wish.request_count > 0 && wish.request_bytes > plan.message_bytes_max;
  bool is_response =
      streams_responses(wish.shape) && wish.response_count > 0 && wish.response_bytes > plan.message_bytes_max;
  return is_request || is_response;
}

Bytes stream_message(uint64_t id, const Wish& wish, Way way, uint64_t number) {
  if (wish.mirrors) way = Way::request;
  Random random(id * 1000 + number * 2 + static_cast<uint64_t>(way));
  size_t last = way == Way::request ? wish.request_bytes : wish.response_bytes;
  size_t size = random.chance(1, 16) ? wish.piece_bytes_max : std::min<size_t>(random.below(300), wish.piece_bytes_max);
  return pattern(random.next(), number + 1 == wish.count(way) ? last : size);
}

Duration pause_before(uint64_t id, uint64_t number, Duration about) {
  if (about == Duration{}) return {};
  Random random(id * 7919 + number);
  // Now and then a long one, so that windows fill.
  return nanos(random.between(0, random.chance(1, 20) ? about.ns * 20 : about.ns * 2));
}

Bytes request_message(uint64_t id, const Wish& wish) { return pattern(id * 2, wish.request_bytes); }

Bytes response_message(uint64_t id, const Wish& wish) {
  return wish.answer == Wish::Answer::echo ? request_message(id, wish) : pattern(id * 2 + 1, wish.response_bytes);
}

std::string error_message(uint64_t id, const Wish& wish) {
  std::string text = "call " + std::to_string(id) + ": 100 % of \xc3\xa4\n";
  return wish.error_bytes > text.size() ? text + std::string(wish.error_bytes - text.size(), '%') : text;
}

Metadata request_metadata(uint64_t id, const Wish& wish) {
  Metadata metadata;
  metadata.add("x-call", std::to_string(id));
  metadata.add("x-raw-bin", pattern(id, id % 50).view());
  add_padding(&metadata, wish.request_padding);
  return metadata;
}

Metadata response_metadata(uint64_t id, const Wish& wish) {
  Metadata metadata;
  metadata.add("x-answers", std::to_string(id));
  metadata.add("x-raw-bin", pattern(~id, id % 40).view());
  add_padding(&metadata, wish.response_padding);
  return metadata;
}

}  // namespace nebula::sim
