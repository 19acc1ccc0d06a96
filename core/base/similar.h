// base/similar.h - names that look like the one that was asked for: most unknown names are slips.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nebula {

// The nearest first, three at most.
std::vector<std::string> similar_names(std::string_view wanted, const std::vector<std::string>& names);

// They as the end of a sentence: `; did you mean "a", "b" or "c"?`; nothing if there are none.
std::string did_you_mean(const std::vector<std::string>& similar);

}  // namespace nebula
