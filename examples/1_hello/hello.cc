// 1_hello/hello.cc - the service "hello" in C++: JSON in, JSON out, and nothing to configure.
#include <nebula.hpp>

#include <iostream>
#include <regex>

int main() {
  nebula::Server server;
  server.unary("/hello/greet", [](const std::string& request) {
    // A flat object; the name goes back with its escapes as they came, so there is nothing to decode.
    static const std::regex name_of(R"re("name"\s*:\s*"((?:[^"\\]|\\.)*)")re");
    std::smatch found;
    std::string name = std::regex_search(request, found, name_of) ? found.str(1) : "world";
    return "\"Hello " + name + "!\"";
  });
  server.start();
  std::cout << "hello  (c++)  ready  " << server.urls() << std::endl;
  server.run();
}
