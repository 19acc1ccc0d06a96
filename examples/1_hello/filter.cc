// 1_hello/filter.cc - a filter on each side: a service that refuses strangers, and a caller who says who it is.
#include <nebula.hpp>

#include <iostream>

std::string refusing(nebula::FilteredCall& call, const nebula::Next& next) {
  const std::string* token = call.metadata.find("token");
  if (token == nullptr || *token != "secret") throw nebula::Error(NEBULA_UNAUTHENTICATED, "who are you?");
  return next();
}

std::string introducing(nebula::FilteredCall& call, const nebula::Next& next) {
  call.metadata.add("token", "secret");
  return next();
}

int main() {
  nebula::Server server;
  server.unary("/guarded/greet", [](const std::string& name) { return "Hello " + name + "!"; });
  server.filter(refusing).start();

  nebula::Channel stranger, known;
  known.filter(introducing);
  try {
    stranger.call("/guarded/greet", "Ada");
  } catch (const nebula::Error& error) {
    std::cout << error.what() << "\n";
  }
  std::cout << known.call("/guarded/greet", "Ada") << "\n";
}
