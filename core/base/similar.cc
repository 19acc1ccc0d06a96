// base/similar.cc - letters put in, left out, replaced or swapped; a common last part; a common beginning.
#include "base/similar.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

namespace nebula {

namespace {

constexpr size_t similar_max = 3;
// Beyond this two names are different words, and a comparison costs their product.
constexpr size_t compared_size_max = 64;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view last_part(std::string_view name) {
  size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

// How many letters must be put in, left out, replaced, or swapped with their neighbour.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); j++) above[j] = j;
  for (size_t i = 1; i <= a.size(); i++) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

// Smaller is nearer; nothing for names that do not look alike.
std::optional<size_t> unlikeness(std::string_view wanted, std::string_view name) {
  if (wanted.size() > compared_size_max || name.size() > compared_size_max) return std::nullopt;
  size_t edits = edit_distance(wanted, name);
  if (edits <= 1 || (edits == 2 && wanted.size() >= 5)) return edits;
  if (last_part(wanted) == last_part(name)) return 3;
  bool is_prefix = wanted.size() >= 3 && name.size() >= 3 && (wanted.starts_with(name) || name.starts_with(wanted));
  if (is_prefix) return 4;
  return std::nullopt;
}

}  // namespace

std::vector<std::string> similar_names(std::string_view wanted, const std::vector<std::string>& names) {
  std::string folded = lower(wanted);
  std::vector<std::pair<size_t, std::string>> found;
  for (const std::string& name : names)
    if (std::optional<size_t> distance = unlikeness(folded, lower(name)); distance && name != wanted)
      found.emplace_back(*distance, name);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  if (found.size() > similar_max) found.resize(similar_max);
  std::vector<std::string> out;
  for (auto& [distance, name] : found) out.push_back(std::move(name));
  return out;
}

std::string did_you_mean(const std::vector<std::string>& similar) {
  std::string text;
  for (size_t i = 0; i < similar.size(); i++)
    text.append(i == 0 ? "; did you mean " : i + 1 == similar.size() ? " or " : ", ").append("\"" + similar[i] + "\"");
  return similar.empty() ? text : text.append("?");
}

}  // namespace nebula
