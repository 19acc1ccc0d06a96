// service/retry.cc - budget, tokens, pushback, backoff.
#include "service/retry.h"

#include <algorithm>
#include <cmath>

#include "base/options.h"
#include "rpc/grpc.h"
#include "rpc/nested_retries.h"

namespace nebula {

namespace {

constexpr int64_t whole = 1000;

// A fifth more or less, so that what failed together does not come back together.
Duration backoff(const RetryOptions& how, uint32_t tries, Random& random) {
  double pause = static_cast<double>(how.first.ns), most = static_cast<double>(how.most.ns);
  for (uint32_t next = 1; next < tries && pause < most; next++) pause *= how.multiplier;
  int64_t ns = static_cast<int64_t>(std::min(pause, most));
  return {random.between(ns * 4 / 5, ns * 6 / 5)};
}

}  // namespace

std::optional<uint32_t> RetryOptions::parse_codes(std::string_view text) {
  uint32_t codes = 0;
  while (true) {
    std::string name(text.substr(0, text.find(',')));
    for (char& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    uint32_t bit = 0;
    for (int code = 1; code <= 16; code++)
      if (code_name(static_cast<Code>(code)) == name) bit = 1u << code;
    if (bit == 0) return std::nullopt;
    codes |= bit;
    if (text.size() == name.size()) return codes;
    text.remove_prefix(name.size() + 1);
  }
}

bool RetryOptions::knows(std::string_view scheme) {
  return scheme == "retry" || scheme == "failfast" || scheme == "failtry" || scheme == "failover";
}

Result<RetryOptions> RetryOptions::parse(const Url& url) {
  RetryOptions retry;
  std::string mode = url.scheme == "retry" ? "failover" : url.scheme, codes = "unavailable";
  Options options(url);
  options.count("tries", &retry.tries, 1, limits::tries_max).number("budget", &retry.budget, 0, 1);
  options.duration("first", &retry.first).duration("most", &retry.most).text("codes", &codes);
  options.number("multiplier", &retry.multiplier, 0.001, 1000);
  if (url.scheme == "retry") options.one_of("mode", &mode, {"failfast", "failtry", "failover"});
  if (Status status = options.status(); !status.ok()) return status;
  std::optional<uint32_t> bits = parse_codes(codes);
  if (!bits) return invalid_argument("\"" + url.text() + "\": codes are names of gRPC's codes, as unavailable,aborted");
  retry.codes = *bits;
  retry.mode = mode == "failfast" ? Mode::failfast : mode == "failtry" ? Mode::failtry : Mode::failover;
  return retry;
}

Result<ThrottleOptions> ThrottleOptions::parse(const Url& url) {
  ThrottleOptions throttle;
  Options options(url);
  options.count("tokens", &throttle.tokens, 1, limits::throttle_tokens).number("ratio", &throttle.ratio, 0.001, 1000);
  if (Status status = options.status(); !status.ok()) return status;
  return throttle;
}

Retry::Retry(const RetryOptions& options, const ThrottleOptions& throttle)
    : options_(options), tokens_max_(throttle.tokens * whole), success_earns_(std::lround(throttle.ratio * whole)) {}

void Retry::change(const RetryOptions& options, const ThrottleOptions& throttle) {
  Retry fresh(options, throttle);
  fresh.budget_ = budget_;
  fresh.tokens_ = std::min(tokens_, fresh.tokens_max_);
  *this = fresh;
}

void Retry::on_call() {
  int64_t earned = std::lround(options_.budget * whole);
  budget_ = std::min(budget_ + earned, limits::retry_budget_max * whole);
}

void Retry::on_success() { tokens_ = std::min(tokens_ + success_earns_, tokens_max_); }

Allowance Retry::take_changes() {
  Allowance changes{budget_ - told_.budget, tokens_ - told_.tokens};
  told_ = {budget_, tokens_};
  return changes;
}

void Retry::add(const Allowance& change) {
  Allowance own = take_changes();
  constexpr int64_t most = limits::retry_budget_max * whole;
  budget_ = std::clamp(budget_ + change.budget, -most, most);
  tokens_ = std::clamp<int64_t>(tokens_ + change.tokens, 0, tokens_max_);
  told_ = {budget_ - own.budget, tokens_ - own.tokens};
}

std::optional<Duration> Retry::pause_after(const RetryOptions& how, uint32_t tries, const Ending& why, Random& random,
                                           Duration left, NestedRetries* nested) {
  bool is_unseen = why.fate == Fate::unprocessed;  // whatever its code
  std::optional<int64_t> pushback = grpc::pushback_ms(why.trailers);
  bool is_worth_it = is_unseen || (how.codes >> static_cast<int>(why.status.code()) & 1) != 0;
  if (!is_worth_it) return std::nullopt;
  tokens_ = std::max<int64_t>(tokens_ - whole, 0);
  if (how.mode == RetryOptions::Mode::failfast || tries >= how.tries) return std::nullopt;
  if (pushback && *pushback < 0) return std::nullopt;
  if (tokens_ <= tokens_max_ / 2 || (how.has_budget && budget_ < whole)) return std::nullopt;
  Duration pause = pushback ? ms(*pushback) : backoff(how, tries, random);
  if (pause >= left) return std::nullopt;
  if (nested != nullptr && !nested->take()) return std::nullopt;
  if (how.has_budget) budget_ -= whole;
  return pause;
}

}  // namespace nebula
