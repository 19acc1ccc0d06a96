// kit/dns.cc - a process with a file of its own; messages put together by hand.
#include "kit/dns.h"

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

namespace nebula::kit {

namespace {

constexpr char program[] = "/usr/sbin/dnsmasq";

sockaddr_in local(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Bound to that port, or to one that is free.
Fd udp_socket(int* port) {
  Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in address = local(*port);
  socklen_t size = sizeof address;
  NEBULA_ASSERT(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  NEBULA_ASSERT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  *port = ntohs(address.sin_port);
  return fd;
}

int free_port() {
  int port = 0;
  udp_socket(&port);
  return port;
}

bool answers(int port) {
  Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = local(port);
  NEBULA_ASSERT(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  std::string query = *make_dns_query(1, "is-there.test", DnsType::a);
  if (send(fd.get(), query.data(), query.size(), 0) < 0) return false;
  pollfd wanted{fd.get(), POLLIN, 0};
  char reply[512];
  return poll(&wanted, 1, 20) == 1 && recv(fd.get(), reply, sizeof reply, 0) > 0;
}

std::string u16(uint16_t value) { return {static_cast<char>(value >> 8), static_cast<char>(value & 255)}; }
std::string u32(uint32_t value) { return u16(static_cast<uint16_t>(value >> 16)) + u16(static_cast<uint16_t>(value)); }

}  // namespace

// ---- dnsmasq

bool DnsmasqProcess::is_installed() { return access(program, X_OK) == 0; }

DnsmasqProcess::DnsmasqProcess(std::vector<std::string> lines) : port_(free_port()) { start(std::move(lines)); }

DnsmasqProcess::~DnsmasqProcess() { kill(); }

void DnsmasqProcess::start(std::vector<std::string> lines) {
  // It asks nobody else, and all of .test is its own.
  std::string text = "listen-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nno-daemon\npid-file\nlocal=/test/\nport=" +
                     std::to_string(port_) + "\n";
  for (const std::string& line : lines) text += line + "\n";
  std::string file = directory_.file("dnsmasq.conf"), option = "--conf-file=" + file;
  write_file(file, text);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    execl(program, "dnsmasq", option.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  for (int look = 0; look < 500 && !answers(port_); look++) poll(nullptr, 0, 20);
}

void DnsmasqProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

// ---- messages

std::string dns_name(const std::string& text) {
  std::string query = *make_dns_query(0, text, DnsType::a);
  return query.substr(12, query.size() - 16);
}

DnsRow a_row(const std::string& name, uint32_t ttl, const std::string& address) {
  char data[16];
  bool is_v6 = address.find(':') != std::string::npos;
  NEBULA_ASSERT(inet_pton(is_v6 ? AF_INET6 : AF_INET, address.c_str(), data) == 1);
  return {name, static_cast<uint16_t>(is_v6 ? 28 : 1), ttl, std::string(data, is_v6 ? 16 : 4)};
}

DnsRow srv_row(const std::string& name, uint32_t ttl, uint16_t priority, uint16_t weight, uint16_t port,
               const std::string& target) {
  return {name, 33, ttl, u16(priority) + u16(weight) + u16(port) + (target == "." ? std::string(1, '\0') : dns_name(target))};
}

DnsRow soa_row(const std::string& zone, uint32_t ttl, uint32_t minimum) {
  return {zone, 6, ttl, dns_name("ns." + zone) + dns_name("admin." + zone) + u32(1) + u32(2) + u32(3) + u32(4) + u32(minimum)};
}

std::string dns_reply(const std::string& query, uint16_t bits, const std::vector<DnsRow>& answers,
                      const std::vector<DnsRow>& authorities) {
  std::string reply = query.substr(0, 2) + u16(static_cast<uint16_t>(0x8180 | bits)) + u16(1) +
                      u16(static_cast<uint16_t>(answers.size())) + u16(static_cast<uint16_t>(authorities.size())) + u16(0) +
                      query.substr(12);
  for (const std::vector<DnsRow>* rows : {&answers, &authorities})
    for (const DnsRow& row : *rows)
      reply += dns_name(row.name) + u16(row.type) + u16(1) + u32(row.ttl) + u16(static_cast<uint16_t>(row.data.size())) + row.data;
  return reply;
}

// ---- the scripted server

struct ScriptedDns::Session final : ConnEvents {
  Session(ScriptedDns& server, std::unique_ptr<Conn> connection) : owner(server), conn(std::move(connection)) {
    conn->start(*this);
  }
  void on_bytes(Bytes data) override {
    owner.asked_by_tcp++;
    std::string reply = owner.script_(std::string(data.view().substr(2)), true);
    // In two parts, as a network may have it.
    std::string framed = u16(static_cast<uint16_t>(reply.size())) + reply;
    conn->write(Bytes::copy(std::string_view(framed).substr(0, 1)));
    conn->write(Bytes::copy(std::string_view(framed).substr(1)));
  }
  void on_drained() override {}
  void on_closed(Status) override {}

  ScriptedDns& owner;
  std::unique_ptr<Conn> conn;
};

ScriptedDns::ScriptedDns(RealWorld& world, Script script) : script_(std::move(script)) {
  Result<std::unique_ptr<Listener>> listener = world.network.listen(url("tcp://127.0.0.1:0"), [this](std::unique_ptr<Conn> conn) {
    sessions_.push_back(std::make_unique<Session>(*this, std::move(conn)));
  });
  NEBULA_ASSERT(listener.ok());
  listener_ = std::move(*listener);
  port_ = *listener_->url().port;
  socket_ = udp_socket(&port_);
  watch_ = world.loop.watch(socket_.get(), [this] { on_datagram(); });
}

ScriptedDns::~ScriptedDns() = default;

void ScriptedDns::on_datagram() {
  char query[512];
  sockaddr_in from{};
  socklen_t from_size = sizeof from;
  ssize_t size = recvfrom(socket_.get(), query, sizeof query, 0, reinterpret_cast<sockaddr*>(&from), &from_size);
  if (size <= 0) return;
  asked_by_udp++;
  std::string reply = script_(std::string(query, static_cast<size_t>(size)), false);
  if (!reply.empty()) sendto(socket_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), from_size);
}

}  // namespace nebula::kit
