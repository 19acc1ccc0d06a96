// 1_hello/call_hello.cc - calls the service "hello" by its name, from C++, in JSON.
#include <nebula.hpp>

#include <iostream>

int main() {
  using namespace std::chrono_literals;
  nebula::Channel channel;
  try {
    std::cout << channel.call("/hello/greet", R"({"name": "Ada"})", nebula::CallOptions(500ms).json()) << "\n";
  } catch (const nebula::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
