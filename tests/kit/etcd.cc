// kit/etcd.cc - two free ports, a folder, a process.
#include "kit/etcd.h"

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "service/registry/etcd_api.h"
#include "service/registry/registries.h"

namespace nebula::kit {

namespace {

sockaddr_in local(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int free_port() {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = local(0);
  socklen_t size = sizeof address;
  NEBULA_ASSERT(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  NEBULA_ASSERT(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  close(fd);
  return ntohs(address.sin_port);
}

bool takes_connections(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = local(port);
  bool does = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return does;
}

}  // namespace

bool EtcdProcess::is_installed() { return access("/usr/bin/etcd", X_OK) == 0; }

EtcdProcess::EtcdProcess() : port_(free_port()), peers_port_(free_port()) { start(); }

EtcdProcess::~EtcdProcess() { kill(); }

void EtcdProcess::start() {
  std::string clients = "http://" + address(), peers = "http://127.0.0.1:" + std::to_string(peers_port_);
  std::string data = directory_.file("data"), members = "default=" + peers;
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    execl("/usr/bin/etcd", "etcd", "--data-dir", data.c_str(), "--listen-client-urls", clients.c_str(),
          "--advertise-client-urls", clients.c_str(), "--listen-peer-urls", peers.c_str(), "--initial-advertise-peer-urls",
          peers.c_str(), "--initial-cluster", members.c_str(), "--heartbeat-interval", "20", "--election-timeout", "200",
          static_cast<char*>(nullptr));
    _exit(127);
  }
  for (int look = 0; look < 1000 && !takes_connections(port_); look++) poll(nullptr, 0, 20);
}

void EtcdProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void EtcdProcess::forget() { std::filesystem::remove_all(directory_.file("data")); }

void EtcdProcess::pause() { ::kill(pid_, SIGSTOP); }

void EtcdProcess::go_on() { ::kill(pid_, SIGCONT); }

void put(const EtcdProcess& etcd, RealWorld& world, const std::string& key, const std::optional<std::string>& value) {
  EtcdPlace place{{"tcp://" + etcd.address()}, {}, "/nebula/"};
  std::unique_ptr<EtcdApi> api = std::move(*EtcdApi::open(world.network.env(), place));
  bool is_done = false;
  auto done = [&is_done](Result<bool>&& answer) { is_done = answer.ok(); };
  if (value)
    api->put(key, *value, 0, done);
  else
    api->remove(key, done);
  NEBULA_ASSERT(world.run_until([&] { return is_done; }));
}

std::unique_ptr<Registry> open_etcd(const EtcdProcess& etcd, RealWorld& world) {
  return std::move(*etcd_registry_driver().open(url("etcd://" + etcd.address() + "?lease=2"), world.network.env()));
}

}  // namespace nebula::kit
