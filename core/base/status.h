// base/status.h - how something ended: one of gRPC's 17 codes and, if it failed, a sentence.
//
// A Status is one word when ok. Codes and numbers: the gRPC specification, statuscodes.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace nebula {

enum class Code : uint8_t {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16,
};

// "DEADLINE_EXCEEDED"; "UNKNOWN" for a number outside 0..16.
std::string_view code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Code code, std::string message);

  Status(const Status& other);
  Status& operator=(const Status& other);
  Status(Status&&) = default;
  Status& operator=(Status&&) = default;

  bool ok() const { return error_ == nullptr; }
  Code code() const { return ok() ? Code::ok : error_->code; }
  std::string_view message() const { return ok() ? std::string_view() : error_->message; }

  // "UNAVAILABLE: dial unix:/x: refused", or "OK".
  std::string text() const;

  // The same code with "context: " in front of the message; ok stays ok.
  Status with_context(std::string_view context) const;

 private:
  struct Error {
    Code code;
    std::string message;
  };
  std::unique_ptr<Error> error_;
};

inline Status cancelled(std::string message) { return {Code::cancelled, std::move(message)}; }
inline Status invalid_argument(std::string message) { return {Code::invalid_argument, std::move(message)}; }
inline Status deadline_exceeded(std::string message) { return {Code::deadline_exceeded, std::move(message)}; }
inline Status already_exists(std::string message) { return {Code::already_exists, std::move(message)}; }
inline Status resource_exhausted(std::string message) { return {Code::resource_exhausted, std::move(message)}; }
inline Status failed_precondition(std::string message) { return {Code::failed_precondition, std::move(message)}; }
inline Status unimplemented(std::string message) { return {Code::unimplemented, std::move(message)}; }
inline Status internal(std::string message) { return {Code::internal, std::move(message)}; }
inline Status unavailable(std::string message) { return {Code::unavailable, std::move(message)}; }

// "<what>: <strerror(error)>" under the code that fits a failed system call.
Status system_error(std::string_view what, int error);

}  // namespace nebula
