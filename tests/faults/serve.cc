// faults/serve.cc - the service of the campaign by nebula.hpp: tests/faults/README.md.
//
// usage: faults_serve <name> <ledger> <address>    until SIGTERM; "delay <ms>" and "fail <share>" on standard input
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <random>
#include <sstream>
#include <thread>

#include <nebula.hpp>

namespace {

using namespace std::chrono_literals;

constexpr int tail_count = 25;
constexpr auto tail_pause = 200ms;

std::atomic<int> delay_ms{0};
std::atomic<double> fail_share{0};

// Messages are JSON, without anything that is to be escaped: {"key":"c1-7"} is answered by "s1 c1-7".
std::string quoted(const std::string& text) { return '"' + text + '"'; }

std::string key_of(const std::string& json) {
  size_t end = json.rfind('"'), begin = json.rfind('"', end - 1) + 1;
  return end == std::string::npos ? "" : json.substr(begin, end - begin);
}

// What the handler has begun is in the file when the process is killed the moment after.
void note(int ledger, const std::string& key) {
  auto now = std::chrono::system_clock::now().time_since_epoch() / 1us;
  std::string line = key + " " + std::to_string(now) + "\n";
  if (write(ledger, line.data(), line.size()) < 0) std::abort();
}

bool draws_failure() {
  thread_local std::minstd_rand random(std::random_device{}());
  return std::uniform_real_distribution<double>()(random) < fail_share;
}

void obey() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string what;
    double value = 0;
    words >> what >> value;
    if (what == "delay") delay_ms = static_cast<int>(value);
    if (what == "fail") fail_share = value;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: faults_serve <name> <ledger> <address>\n";
    return 2;
  }
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  const std::string name = argv[1];
  const int ledger = open(argv[2], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  nebula::Server server;
  server.unary("/faults/work", [&](const std::string& json) -> std::string {
    const std::string key = key_of(json);
    note(ledger, key);
    if (int ms = delay_ms) std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    if (draws_failure()) throw nebula::Error(NEBULA_UNAVAILABLE, "told to fail");
    return quoted(name + " " + key);
  });
  server.server_stream("/faults/tail", [&](const std::string& json, nebula::Writer<std::string>& answers) {
    const std::string key = key_of(json);
    note(ledger, key);
    for (int i = 0; i < tail_count; i++) {
      if (i > 0) std::this_thread::sleep_for(tail_pause);
      answers.write(quoted(name + " " + key + " " + std::to_string(i)));
    }
  });
  server.listen(argv[3], "faults");
  server.start();
  std::thread(obey).detach();
  std::cout << "ready" << std::endl;
  server.run();
  std::_Exit(0);  // the thread that obeys still reads
}
