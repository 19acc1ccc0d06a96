// docs/pictures_test.cc - the pictures of docs/policies.md show what the engine does.
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "pictures/scenes.h"

namespace {

std::string committed() {
  std::ifstream file(NEBULA_PICTURES);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

Test(pictures, are_all_there) {
  std::string text = committed();
  size_t found = 0;
  for (size_t at = 0; (at = text.find("{\"file\": ", at)) != std::string::npos; at++) found++;
  cr_assert_eq(found, nebula::pictures::count(), "there are %zu: `make pictures`, and commit them", found);
}

// Elsewhere compilers join a multiplication and an addition into one, and the last digits differ.
#if defined(__x86_64__)
// `"file": "p2c"`, which begins each.
static std::string name_of(const std::string& picture) { return picture.substr(1, picture.find(',') - 1); }

ParameterizedTestParameters(pictures, show_this_engine) {
  static std::vector<size_t> pictures;
  for (size_t picture = 0; picture < nebula::pictures::count(); picture++) pictures.push_back(picture);
  return cr_make_param_array(size_t, pictures.data(), pictures.size());
}
ParameterizedTest(size_t* picture, pictures, show_this_engine) {
  std::string drawn = nebula::pictures::draw(*picture);
  cr_assert(committed().find(drawn) != std::string::npos,
            "policies behave otherwise than docs/policies/ shows, %s: look at it after `make pictures`, and commit it",
            name_of(drawn).c_str());
}
#endif
