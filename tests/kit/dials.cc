// kit/dials.cc - dials that wait.
#include "kit/dials.h"

#include "transport/transports.h"

namespace nebula::kit {

namespace {

// A driver is opened through a plain function, which knows nothing but its Env: so the one that exists is found here.
Dials* current = nullptr;

}  // namespace

class Dials::Door final : public Transport {
 public:
  Result<std::unique_ptr<Listener>> listen(const Url&, Fn<void(std::unique_ptr<Conn>)>) override {
    return unimplemented("door: is for dialling only");
  }
  void dial(const Url& to, Done<std::unique_ptr<Conn>> done) override {
    current->dials.push_back({to.path, current->world.loop.now(), std::move(done)});
    size_t n = current->dials.size() - 1;
    current->world.loop.later([n] {
      if (current != nullptr && current->then) current->then(n);
    });
  }
};

Dials::Dials(SimWorld& world)
    : world(world), table_(transports()), network(world.loop, world.log, world.random, table_, world.hub) {
  NEBULA_ASSERT(current == nullptr);
  current = this;
  Driver<Transport> door = {"door", "door:name", [](const Url&, const Env&) {
    return Result<std::unique_ptr<Transport>>(std::make_unique<Door>());
  }};
  NEBULA_ASSERT(table_.add(door).ok());
}

Dials::~Dials() {
  for (Dial& dial : dials)
    if (dial.done) dial.done(unavailable("the test is over"));
  current = nullptr;
}

void Dials::refuse(size_t n, std::string_view why) {
  Status status = unavailable("dial door:" + dials.at(n).name + ": " + std::string(why));
  world.loop.post([this, n, status] { dials[n].done(Status(status)); });
}

void Dials::open(size_t n, std::string_view mem_name) {
  world.network.dial(url("mem:" + std::string(mem_name)), std::move(dials.at(n).done));
}

}  // namespace nebula::kit
