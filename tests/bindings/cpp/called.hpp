// bindings/cpp/called.hpp - runs a case: one call, or many of one kind, and says what came of it.
#ifndef NEBULA_TESTS_BINDINGS_CALLED_HPP
#define NEBULA_TESTS_BINDINGS_CALLED_HPP

#include <nebula.hpp>
#include <string>

namespace conformance {

// Both are JSON, as README.md has them. Never throws: what this program could not do is in the result, as "broken".
std::string result_of(nebula::Channel& channel, const std::string& line);

}  // namespace conformance

#endif
