// base/tally.h - Tally: one answer for several questions.
#pragma once

#include <cstddef>

#include "base/done.h"

namespace nebula {

// Answers once, when the last of several has answered; the first failure is the answer. Shared by those that are asked.
struct Tally {
  size_t left;
  Status failure;
  Done<bool> done;

  void count(const Status& status) {
    if (failure.ok() && !status.ok()) failure = status;
    if (--left == 0) done(failure.ok() ? Result<bool>(true) : Result<bool>(failure));
  }
};

}  // namespace nebula
