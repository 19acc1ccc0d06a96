// 3_chain/chain.cc - the last link of the chain, in C++: says what reached it.
#include <nebula.hpp>

#include <iostream>

std::string ask(const std::string&, nebula::Context& context) {
  std::chrono::duration<double> left = context.deadline() - std::chrono::steady_clock::now();
  const std::string* trace = context.metadata().find("trace");
  std::string seconds = std::to_string(left.count());
  return "[\"c++     " + seconds.substr(0, seconds.find('.') + 4) + " s left  trace " + (trace ? *trace : "none") + "\"]";
}

int main() {
  nebula::Server server;
  server.unary("/chain-cpp/ask", ask).start();
  std::cout << "chain-cpp  (c++)  ready  " << server.urls() << std::endl;
  server.run();
}
