// pictures/main.cc - writes the runs behind the pictures of docs/policies.md; `make pictures`.
#include <cstdio>

#include "pictures/scenes.h"

int main() {
  std::string text = nebula::pictures::draw_all();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}
