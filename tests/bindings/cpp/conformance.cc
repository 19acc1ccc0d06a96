// bindings/cpp/conformance.cc - nebula.test.v1.Conformance in C++, served or called: tests/bindings/README.md.
//
// usage: conformance_cpp serve <url>...     until SIGTERM
//        conformance_cpp call <target>      a case a line, a result a line
#include <csignal>
#include <iostream>

#include "called.hpp"
#include "served.hpp"

namespace {

void serve(int count, char** urls) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);  // it may come as soon as somebody knows our addresses
  nebula::Server server;
  conformance::Service service(server);
  for (int i = 0; i < count; i++) server.listen(urls[i], conformance::service_name);
  server.start();
  service.reach(server.urls());
  std::cout << server.urls() << std::endl;
  server.run();
}

void call(const std::string& target) {
  nebula::Channel channel(target);
  for (std::string line; std::getline(std::cin, line);) std::cout << conformance::result_of(channel, line) << std::endl;
}

}  // namespace

int main(int argc, char** argv) try {
  std::string_view side = argc > 2 ? argv[1] : "";
  if (side != "serve" && side != "call") {
    std::cerr << "usage: conformance_cpp serve <url>... | call <target>\n";
    return 2;
  }
  side == "serve" ? serve(argc - 2, argv + 2) : call(argv[2]);
  return 0;
} catch (const nebula::Error& error) {
  std::cerr << "conformance_cpp: " << error.what() << "\n";
  return 1;
}
