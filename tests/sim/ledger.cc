// sim/ledger.cc - the rules.
#include "sim/ledger.h"

#include <algorithm>
#include <cstdlib>

#include "base/limits.h"

namespace nebula::sim {

namespace {

constexpr size_t violations_max = 8;

bool is_of_handler(const Call& call, const Status& status) {
  return call.wish.answer == Wish::Answer::error && status.code() == call.wish.error;
}

// A long one is cut, and marked so.
bool is_message_of(const Call& call, std::string_view message) {
  std::string whole = error_message(call.id, call.wish);
  if (whole.size() <= limits::status_message_bytes_max) return message == whole;
  if (!message.ends_with(" ...")) return false;
  message.remove_suffix(4);
  return message.size() + 4 >= limits::status_message_bytes_max && whole.starts_with(message);
}

std::string ms_text(Duration duration) {
  std::string text = std::to_string(duration.us() % 1000);
  return std::to_string(duration.ms()) + "." + std::string(3 - text.size(), '0') + text + " ms";
}

}  // namespace

// ---- the caller's side

Call& Ledger::begin(Wish wish) {
  Call& call = calls_[next_id_];
  call.id = next_id_++;
  call.begun = clock_.now();
  call.deadline = clock_.now() + wish.timeout;
  call.wish = std::move(wish);
  trace_.note("begin", call.id, call.wish.service);
  return call;
}

void Ledger::on_caller_cancels(Call& call) {
  trace_.note("cancel", call.id);
  call.cancelled = clock_.now();
}

void Ledger::on_begun(Call& call, const Response& response) {
  trace_.note("begun", call.id);
  if (call.has_begun || call.has_ended() || !streams_responses(call.wish.shape))
    violation(call, "has begun to be answered, which it should not");
  call.has_begun = true;
  if (!response.status.ok()) violation(call, "began with an error");
  if (response.metadata.block() != response_metadata(call.id, call.wish).block())
    violation(call, "got metadata that is not its own");
}

void Ledger::on_reply(Call& call, Result<Response> result) {
  Status status = result.ok() ? result->status : result.status();
  trace_.note("reply", call.id, code_name(status.code()));
  if (call.has_ended()) return violation(call, "was answered a second time: " + status.text());
  call.ended = clock_.now();
  call.code = status.code();
  codes_[static_cast<size_t>(call.code)]++;
  check_time(call);
  check_code(call, status);
  check_fate(call, result);
  if (result.ok()) check_answer(call, *result);
}

void Ledger::check_time(const Call& call) {
  Time latest = std::max(call.begun, std::min(call.deadline, call.cancelled));
  if (call.ended > latest && !call.reads_slowly())
    violation(call, "was answered " + ms_text(call.ended - latest) + " after its " +
                        (call.cancelled < call.deadline ? "cancellation" : "deadline"));
  bool may_fail_fast = call.wish.target == Wish::Target::no_service && !call.wish.waits;
  if (may_fail_fast && call.ended > call.begun + plan_.registry_delay * 2) violation(call, "did not fail fast");
}

void Ledger::check_code(const Call& call, const Status& status) {
  if (status.code() == Code::cancelled && !call.cancelled.is_never()) return;
  if (status.code() == Code::deadline_exceeded && clock_.now() >= call.deadline) return;
  if (status.code() == Code::unavailable && may_be_unavailable(call)) return;
  bool is_too_large = status.code() == Code::resource_exhausted && may_be_oversize(call.wish, plan_);
  if (is_too_large && (call.runs > 0 || status.code() == code_of(call.wish, plan_))) return;
  if (status.code() != code_of(call.wish, plan_))
    return violation(call, "ended with " + status.text() + ", which nothing explains");
  if (call.wish.hangs && call.runs > 0)
    return violation(call, "was answered, but its handler waits to be cancelled: " + status.text());
  bool is_from_handler = status.ok() || (call.wish.answer == Wish::Answer::forget && status.code() == Code::internal) ||
                         is_of_handler(call, status);
  if (is_from_handler && !call.handler_answered)
    violation(call, "has an answer that its handler has not given: " + status.text());
}

bool Ledger::may_be_unavailable(const Call& call) const {
  if (call.is_abandoned || plan_.cuts()) return true;
  if (call.runs > 0) return is_lost(call.instance);
  // A server counts the handlers of cancelled calls among the streams that it allows (CVE-2023-44487), and refuses more.
  // Those wait for their turn, except streams of which a message has gone already.
  auto occupies = [](const auto& each) { return each.second.is_handled || !each.second.has_ended(); };
  bool has_sent = streams_requests(call.wish.shape) && call.flow(Way::request).given > 0;
  if (has_sent && std::count_if(calls_.begin(), calls_.end(), occupies) >= plan_.streams_max) return true;
  auto name = names_.find(call.wish.service);
  return name == names_.end() || name->second.up == 0 || name->second.trouble_ends >= call.begun;
}

bool Ledger::is_lost(int instance) const {
  auto lost = lost_from_.find(instance);
  return lost != lost_from_.end() && lost->second <= clock_.now();
}

// What the caller is told about a failed request decides whether it may be sent again.
void Ledger::check_fate(Call& call, const Result<Response>& result) {
  call.was_never_sent = !result.ok() || result->fate == Fate::unsent || result->fate == Fate::unprocessed;
  if (call.was_never_sent && call.runs > 0) violation(call, "is said not to have been processed, but its handler ran");
}

void Ledger::check_answer(const Call& call, const Response& response) {
  if (is_of_handler(call, response.status) && !is_message_of(call, response.status.message()))
    violation(call, "failed with a message that is not its own: " + response.status.text().substr(0, 100));
  if (!response.status.ok()) return;
  if (response.trailers.find("x-ends") != std::to_string(call.id)) violation(call, "got trailers that are not its own");
  if (streams_responses(call.wish.shape)) return check_stream(call);
  const Bytes* body = std::get_if<Bytes>(&response.body);
  if (body == nullptr) return violation(call, "is OK without a message");
  if (body->view() != response_message(call.id, call.wish).view())
    violation(call, "got a message of " + std::to_string(body->size()) + " bytes that is not its own");
  if (response.metadata.block() != response_metadata(call.id, call.wish).block())
    violation(call, "got metadata that is not its own");
}

void Ledger::check_stream(const Call& call) {
  const Flow& flow = call.flow(Way::response);
  if (!call.has_begun) violation(call, "is OK without having begun");
  if (!flow.is_all_said || flow.taken != flow.given)
    violation(call, "is OK with " + std::to_string(flow.taken) + " messages of " + std::to_string(flow.given) +
                        (flow.is_all_said ? "" : ", and more to come"));
}

void Ledger::check_was_answered(const Call& call, std::string_view by) {
  if (!call.has_ended()) violation(call, "has no answer, " + std::string(by));
}

// ---- the handler's side

Call* Ledger::on_request(int instance, const Request& request) {
  std::string id(request.metadata.find("x-call").value_or(""));
  auto found = calls_.find(std::strtoull(id.c_str(), nullptr, 10));
  trace_.note("handle", id);
  if (found == calls_.end()) return violation("a handler was given a call \"" + id + "\" that nobody made"), nullptr;
  Call& call = found->second;
  if (call.runs++ > 0) return violation(call, "ran a second time"), nullptr;
  auto drains = drains_from_.find(instance);
  if (drains != drains_from_.end() && call.begun > drains->second + plan_.reach())
    violation(call, "was given to instance " + std::to_string(instance) + ", which takes no more calls");
  if (call.was_never_sent) violation(call, "ran although its caller was told that it had not been sent");
  if (call.wish.cancel_after == Duration{}) violation(call, "ran although it was cancelled before it was made");
  call.instance = instance;
  call.is_handled = true;
  check_request(call, request);
  return &call;
}

void Ledger::check_request(const Call& call, const Request& request) {
  const Bytes* body = std::get_if<Bytes>(&request.body);
  if (streams_requests(call.wish.shape)) {
    if (!std::holds_alternative<std::unique_ptr<Source>>(request.body)) violation(call, "came without its messages");
  } else if (body == nullptr || body->view() != request_message(call.id, call.wish).view())
    violation(call, "came with a message that is not its own");
  Metadata user;
  for (Field field : request.metadata)
    if (field.name != "user-agent") user.add(field.name, field.value);
  if (user.block() != request_metadata(call.id, call.wish).block())
    violation(call, "came with metadata that is not its own");
  Time deadline = request.context->deadline();
  // It is sent as what is left, so that it comes later by the way; rounded up to at most 8 digits.
  Time latest = call.deadline + (clock_.now() - call.begun) + ms(1);
  if (deadline < call.deadline || deadline > latest) violation(call, "came with a deadline that is not its own");
}

void Ledger::on_handler_answers(Call& call) {
  trace_.note("answer", call.id);
  call.is_handled = false;
  call.handler_answered = true;
}

void Ledger::on_handler_lost(Call& call) {
  trace_.note("forget", call.id);
  call.is_handled = false;
  call.handler_answered = call.wish.answer == Wish::Answer::forget;
}

void Ledger::on_handler_cancelled(Call& call) {
  trace_.note("cancelled", call.id);
  if (!call.handler_cancelled.is_never()) violation(call, "was cancelled twice at its handler");
  // Of a stream that breaks off the source may go first.
  if (call.handler_answered || (!call.is_handled && !streams_responses(call.wish.shape)))
    violation(call, "was cancelled at its handler after that had answered");
  call.handler_cancelled = clock_.now();
  bool is_explained = call.has_ended() || call.is_abandoned || clock_.now() >= call.deadline || plan_.cuts() ||
                      is_lost(call.instance) || code_of(call.wish, plan_) == Code::resource_exhausted ||
                      may_be_oversize(call.wish, plan_);
  if (!is_explained) violation(call, "was cancelled at its handler, and nothing explains why");
}

void Ledger::check_is_cancelled(const Call& call) {
  if (call.is_handled && call.handler_cancelled.is_never())
    violation(call, "ended at " + ms_text(call.ended - Time{sec(1000).ns}) + ", but its handler was never told");
}

void Ledger::check_has_none(int instance) {
  for (const auto& [id, call] : calls_)
    if (call.runs > 0 && call.instance == instance && !call.has_ended() && !call.reads_slowly())
      violation(call, "still waits for a dead instance");
}

// ---- the messages of a stream

void Ledger::on_message_given(Call& call, Way way, size_t bytes) {
  Flow& flow = call.flow(way);
  flow.given++;
  flow.bytes_between += bytes;
  if (way == Way::request && call.has_ended()) violation(call, "is asked for more requests, although it has ended");
  if (way == Way::response && call.runs == 0) violation(call, "is asked for responses, although nobody handles it");
  // The window, what waits before it, and on both sides one message that is begun.
  size_t messages = 2 * (plan_.message_bytes_max + plan_.bytes_max);
  size_t most = limits::stream_window_max + limits::stream_send_high + messages;
  if (flow.is_watched && flow.bytes_between > most)
    violation(call, "has " + std::to_string(flow.bytes_between) + " bytes under way, over " + std::to_string(most));
}

void Ledger::on_message_taken(Call& call, Way way, const Bytes& message) {
  Flow& flow = call.flow(way);
  trace_.note(way == Way::request ? "request" : "response", call.id);
  if (way == Way::response && call.has_ended()) violation(call, "got a message after its end");
  if (flow.taken >= flow.given) return violation(call, "got more messages than were given");
  if (message.view() != stream_message(call.id, call.wish, way, flow.taken).view())
    violation(call, std::string(way == Way::request ? "request " : "response ") + std::to_string(flow.taken) +
                        " is not the one that it should be");
  flow.taken++;
  flow.bytes_between -= message.size();
}

void Ledger::on_all_said(Call& call, Way way) {
  call.flow(way).is_all_said = true;
  if (way == Way::response) on_handler_answers(call);
}

void Ledger::on_speaker_gone(Call& call, Way way, bool has_said_all) {
  if (way == Way::response && !has_said_all) on_handler_lost(call);
}

void Ledger::on_requests_end(Call& call, const Status& status) {
  const Flow& flow = call.flow(Way::request);
  trace_.note("requests end", call.id, code_name(status.code()));
  if (status.ok() && (!flow.is_all_said || flow.taken != flow.given))
    violation(call, "has all its requests, as the handler is told, but got " + std::to_string(flow.taken) + " of " +
                        std::to_string(flow.given));
}

// ---- what may explain that a call fails

void Ledger::on_up(const std::string& service) {
  names_[service].up++;
  on_upset(service);
}

void Ledger::on_down(const std::string& service) {
  names_[service].up--;
  on_upset(service);
}

// Clients back off for up to about the time for which it was gone.
void Ledger::on_back(const std::string& service) {
  on_up(service);
  Name& name = names_[service];
  Duration gone = clock_.now() - name.trouble_began;
  name.trouble_ends = std::max(name.trouble_ends, clock_.now() + limits::backoff_first * 3 + gone * 2);
}

void Ledger::on_upset(const std::string& service) {
  Name& name = names_[service];
  if (clock_.now() > name.trouble_ends) name.trouble_began = clock_.now();
  name.trouble_ends = std::max(name.trouble_ends, clock_.now() + plan_.settling());
}

Time Ledger::calm_from() const {
  Time calm = clock_.now();
  for (const auto& [service, name] : names_) calm = std::max(calm, name.trouble_ends);
  return calm;
}

// ---- all calls

void Ledger::check_all_over() {
  for (const auto& [id, call] : calls_) {
    if (!call.has_ended()) violation(call, "was never answered");
    if (call.is_handled) violation(call, "is still with its handler");
  }
}

void Ledger::forget_all() {
  calls_.clear();
  lost_from_.clear();
  drains_from_.clear();
}

void Ledger::violation(const Call& call, std::string_view what) { violation(describe(call) + " " + std::string(what)); }

void Ledger::violation(std::string_view what) {
  trace_.note("VIOLATION", what);
  if (violations_.size() < violations_max)
    violations_.push_back("at " + ms_text(trace_.elapsed()) + ": " + std::string(what));
}

std::string Ledger::describe(const Call& call) const {
  std::string text = "call " + std::to_string(call.id) + " to \"" + call.wish.service + "\" (begun " +
                     ms_text(clock_.now() - call.begun) + " ago";
  if (!call.deadline.is_never()) text += ", deadline of " + ms_text(call.wish.timeout);
  if (!call.cancelled.is_never()) text += ", cancelled";
  text += call.runs == 0 ? ", no handler" : ", handler at instance " + std::to_string(call.instance);
  return text + ")";
}

}  // namespace nebula::sim
