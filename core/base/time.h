// base/time.h - points in time and lengths of it, with the unit in the type.
//
// Time is monotonic and comes from a Clock (loop/loop.h), never from the system directly, so that a simulated
// world can own it. Plain values.
#pragma once

#include <compare>
#include <cstdint>

namespace nebula {

struct Duration {
  int64_t ns = 0;

  constexpr auto operator<=>(const Duration&) const = default;
  constexpr int64_t us() const { return ns / 1000; }
  constexpr int64_t ms() const { return ns / 1000000; }
};

constexpr Duration nanos(int64_t count) { return {count}; }
constexpr Duration us(int64_t count) { return {count * 1000}; }
constexpr Duration ms(int64_t count) { return {count * 1000000}; }
constexpr Duration sec(int64_t count) { return {count * 1000000000}; }

constexpr Duration operator+(Duration a, Duration b) { return {a.ns + b.ns}; }
constexpr Duration operator-(Duration a, Duration b) { return {a.ns - b.ns}; }
constexpr Duration operator*(Duration a, int64_t times) { return {a.ns * times}; }

// Nanoseconds since an arbitrary start.
struct Time {
  int64_t ns = 0;

  static constexpr Time never() { return {INT64_MAX}; }
  constexpr bool is_never() const { return ns == INT64_MAX; }
  constexpr auto operator<=>(const Time&) const = default;
};

constexpr Duration operator-(Time a, Time b) { return {a.ns - b.ns}; }

// Saturates at never(): a deadline that is far away must not wrap into the past.
constexpr Time operator+(Time a, Duration d) {
  int64_t sum = 0;
  if (a.is_never() || __builtin_add_overflow(a.ns, d.ns, &sum)) return Time::never();
  return {sum};
}

}  // namespace nebula
