// service/retry.h - whether a call that has failed is tried once more, and when (gRFC A6).
//
// Two things keep retries from making a bad day worse: a budget, which each call fills by a tenth and each retry takes
// one from; and throttle tokens, of which each failure takes one and each good call gives back a tenth: with less than
// half of them there are no retries. Pure: the channel does what it says. One per channel, on its loop.
#pragma once

#include <cstdint>
#include <optional>

#include "base/limits.h"
#include "base/random.h"
#include "base/result.h"
#include "base/url.h"
#include "rpc/call.h"

namespace nebula {

struct RetryOptions {
  // failfast: one try. failtry: the same node again. failover: another one, as long as there is one.
  enum class Mode : uint8_t { failfast, failtry, failover };

  Mode mode = Mode::failover;
  uint32_t tries = 3;               // all in all
  double budget = 0.1;              // retries for each call
  Duration first = ms(20);          // the pause before the second try, `multiplier` times as long before each further one
  Duration most = sec(1);
  double multiplier = 2;
  uint32_t codes = 1u << static_cast<int>(Code::unavailable);  // which are worth it, a bit for each
  bool has_budget = true;           // false: its retries are held to the tokens alone

  // retry:?tries=3&budget=0.1&mode=failover&codes=unavailable,aborted; also failfast: failtry: failover:
  static Result<RetryOptions> parse(const Url& url);
  static bool knows(std::string_view scheme);
  // "unavailable,ABORTED" to bits; nothing where a name is none.
  static std::optional<uint32_t> parse_codes(std::string_view text);
};

// Of a channel: each failure takes a token, each good call earns a share of one; with half of them gone, no retries.
struct ThrottleOptions {
  uint32_t tokens = limits::throttle_tokens;
  double ratio = 0.1;

  static Result<ThrottleOptions> parse(const Url& url);  // throttle:?tokens=1000&ratio=0.1
};

// Changes, in thousandths of a retry and of a token.
struct Allowance {
  int64_t budget = 0, tokens = 0;

  Allowance& operator+=(const Allowance& other) {
    budget += other.budget;
    tokens += other.tokens;
    return *this;
  }
  bool operator==(const Allowance&) const = default;
};

class Retry {
 public:
  explicit Retry(const RetryOptions& options, const ThrottleOptions& throttle = {});

  // Other options, with the budget and the tokens that are left.
  void change(const RetryOptions& options, const ThrottleOptions& throttle);

  const RetryOptions& options() const { return options_; }
  void on_call();      // a new one
  void on_success();   // one has ended well

  // After so many tries of a call the last of which failed like that: how long to wait before the next. Nothing: there
  // is none. Methods may have options of their own; budget and tokens are the channel's. left: until the call's deadline,
  // which the pause must not reach. nested: what it takes from, too; null: it is made for no other call.
  std::optional<Duration> pause_after(uint32_t tries, const Ending& why, Random& random) {
    return pause_after(options_, tries, why, random, nanos(INT64_MAX));
  }
  std::optional<Duration> pause_after(const RetryOptions& how, uint32_t tries, const Ending& why, Random& random,
                                      Duration left, NestedRetries* nested = nullptr);

  // Channels that share one budget and its tokens tell each other what has changed since they did so last. What several
  // of them have spent at the same time is owed: with less than nothing in hand there are no retries.
  bool has_changed() const { return Allowance{budget_, tokens_} != told_; }
  Allowance take_changes();
  void add(const Allowance& change);

 private:
  RetryOptions options_;
  int64_t tokens_max_;  // in thousandths, as all of these
  int64_t success_earns_;
  int64_t budget_ = limits::retry_reserve * 1000;
  int64_t tokens_ = tokens_max_;
  Allowance told_{budget_, tokens_};
};

}  // namespace nebula
