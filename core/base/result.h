// base/result.h - a value, or the Status that says why there is none.
#pragma once

#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/status.h"

namespace nebula {

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status why) : status_(std::move(why)) { NEBULA_ASSERT(!status_.ok()); }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  T& operator*() {
    NEBULA_ASSERT(ok());
    return *value_;
  }
  const T& operator*() const {
    NEBULA_ASSERT(ok());
    return *value_;
  }
  T* operator->() { return &**this; }
  const T* operator->() const { return &**this; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace nebula

#define NEBULA_JOIN_(a, b) a##b
#define NEBULA_JOIN(a, b) NEBULA_JOIN_(a, b)
#define NEBULA_TRY(result, declaration, ...)          \
  auto result = (__VA_ARGS__);                        \
  if (!result.ok()) return ::nebula::Status(result.status()); \
  declaration = std::move(*result)

// TRY(Bytes text, read_file(path)): declares text, or returns the Status of read_file to the caller.
#define TRY(declaration, ...) NEBULA_TRY(NEBULA_JOIN(try_result_, __LINE__), declaration, __VA_ARGS__)
