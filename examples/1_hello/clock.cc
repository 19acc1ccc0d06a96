// 1_hello/clock.cc - a service of clock.proto in C++, with the messages that protoc makes of it.
#include <nebula.hpp>

#include <iostream>

#include "clock.pb.h"

demo::v1::NowReply now(const demo::v1::NowRequest&) {
  std::chrono::nanoseconds time = std::chrono::system_clock::now().time_since_epoch();
  std::time_t seconds = time.count() / 1'000'000'000;
  char utc[32];
  std::strftime(utc, sizeof utc, "%FT%TZ", std::gmtime(&seconds));
  demo::v1::NowReply reply;
  reply.set_utc(utc);
  reply.set_unix_nanos(time.count());
  return reply;
}

int main() {
  nebula::Server server;
  server.unary("/demo.v1.Clock/Now", now);
  server.run();
}
