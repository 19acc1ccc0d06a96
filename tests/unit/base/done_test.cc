// unit/base/done_test.cc - answers that cannot be lost.
#include "base/done.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

using namespace nebula;

namespace {

Done<int> into(std::vector<std::string>& answers) {
  return [&answers](Result<int> result) {
    answers.push_back(result.ok() ? std::to_string(*result) : result.status().text());
  };
}

}  // namespace

Test(done, gives_its_answer) {
  std::vector<std::string> answers;
  Done<int> done = into(answers);
  done(7);
  cr_assert(answers == std::vector<std::string>{"7"});
  cr_assert(not done, "once");
}

Test(done, answers_internal_when_dropped) {
  std::vector<std::string> answers;
  { Done<int> dropped = into(answers); }
  cr_assert(answers == std::vector<std::string>{"INTERNAL: dropped without an answer"});
}

Test(done, answers_once_however_often_it_moves) {
  std::vector<std::string> answers;
  {
    Done<int> done = into(answers);
    Done<int> moved = std::move(done);
    Done<int> again = std::move(moved);
    cr_assert(not done && not moved);
    again(1);
  }
  cr_assert(answers == std::vector<std::string>{"1"});
}

Test(done, answers_the_old_question_when_it_is_given_a_new_one) {
  std::vector<std::string> first, second;
  Done<int> done = into(first);
  done = into(second);
  cr_assert_eq(first.size(), 1);
  done(2);
  cr_assert(second == std::vector<std::string>{"2"});
}

Test(done, owes_nothing_when_empty) {
  Done<int> nothing;
  cr_assert(not nothing);
}
