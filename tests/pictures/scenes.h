// pictures/scenes.h - the runs behind the pictures of docs/policies.md.
#pragma once

#include <string>

namespace nebula::pictures {

// All of them, as docs/policies/runs.json: for each picture its words, its curves, and what happened when.
std::string draw_all();

}  // namespace nebula::pictures
