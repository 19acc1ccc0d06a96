// pictures/scenes.h - the runs behind the pictures of docs/policies.md.
#pragma once

#include <cstddef>
#include <string>

namespace nebula::pictures {

// A picture as docs/policies/runs.json has it: its words, its curves, and what happened when.
std::string draw(size_t picture);

// How many there are, and all of them, as that file.
size_t count();
std::string draw_all();

}  // namespace nebula::pictures
