// docs/pictures_test.cc - the pictures of docs/policies.md show what the engine does.
#include <criterion/criterion.h>

#include <fstream>
#include <sstream>

#include "pictures/scenes.h"

// Elsewhere compilers join a multiplication and an addition into one, and the last digits differ.
#if defined(__x86_64__)
Test(pictures, are_of_this_engine) {
  std::ifstream file(NEBULA_PICTURES);
  std::stringstream text;
  text << file.rdbuf();
  cr_assert(text.str() == nebula::pictures::draw_all(),
            "policies behave otherwise than docs/policies/ shows: look at them after `make pictures`, and commit them");
}
#endif
