// 1_hello/call_clock.cc - calls the clock by its name, in whatever language it is, with the messages that protoc makes.
#include <nebula.hpp>

#include <iostream>

#include "clock.pb.h"

int main() {
  using namespace std::chrono_literals;
  nebula::Channel channel;
  try {
    std::cout << channel.call<demo::v1::NowReply>("/demo.v1.Clock/Now", demo::v1::NowRequest(), 500ms).utc() << "\n";
  } catch (const nebula::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
