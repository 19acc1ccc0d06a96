// base/status.cc - names, printing, wrapping.
#include "base/status.h"

#include <cerrno>
#include <cstring>

#include "base/assert.h"

namespace nebula {

namespace {

constexpr std::string_view names[] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

Code code_of_errno(int error) {
  switch (error) {
    case EACCES:
    case EPERM: return Code::permission_denied;
    case EADDRINUSE:
    case EEXIST: return Code::already_exists;
    case ENOENT: return Code::not_found;
    case EINVAL:
    case ENAMETOOLONG: return Code::invalid_argument;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT: return Code::resource_exhausted;
    default: return Code::unavailable;
  }
}

}  // namespace

std::string_view code_name(Code code) {
  size_t number = static_cast<size_t>(code);
  return number < std::size(names) ? names[number] : names[static_cast<size_t>(Code::unknown)];
}

Status::Status(Code code, std::string message) {
  if (code != Code::ok) error_ = std::make_unique<Error>(Error{code, std::move(message)});
}

Status::Status(const Status& other) : Status(other.code(), std::string(other.message())) {}

Status& Status::operator=(const Status& other) {
  if (this != &other) *this = Status(other);
  return *this;
}

std::string Status::text() const {
  std::string text(code_name(code()));
  if (!message().empty()) text.append(": ").append(message());
  return text;
}

Status Status::with_context(std::string_view context) const {
  if (ok()) return {};
  std::string text(context);
  text.append(": ").append(message());
  return {code(), std::move(text)};
}

Status system_error(std::string_view what, int error) {
  char buffer[128];
  std::string text(what);
  text.append(": ").append(strerror_r(error, buffer, sizeof buffer));
  return {code_of_errno(error), std::move(text)};
}

}  // namespace nebula
