// fuzz/abi_fuzz.cc - the C ABI in any order, with ids that live, that are stale, and that never were.
//
// Every call that was started ends with one FINISHED, unless its queue is freed first; nothing is left behind.
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "input.h"
#include "nebula.h"

using nebula::fuzz::Input;

namespace {

constexpr int operations_max = 200;

struct World {
  World() {
    nebula_engine_options options{};
    options.size = sizeof options;
    options.registry = "mem:";
    engine = nebula_engine_new(&options, nullptr);
    queue = nebula_queue_new(engine, nullptr, nullptr);
    server = nebula_server_new(engine, nullptr, nullptr);
    channel = nebula_channel_new(engine, "mem:fuzz", nullptr, nullptr);
    for (int32_t shape = 0; shape < 4; shape++) {
      char path[] = "/fuzz/m0";
      path[7] = static_cast<char>('0' + shape);
      int32_t kind = shape == NEBULA_BIDI ? shape | NEBULA_HOLD | NEBULA_RUNS : shape;
      if (nebula_server_method(server, path, kind, 100 + static_cast<uint64_t>(shape)) != 0) abort();
      methods.push_back(nebula_channel_method(channel, path, shape));
    }
    methods.push_back(nebula_channel_method(channel, "/fuzz/none", NEBULA_UNARY));
    if (nebula_server_listen(server, "mem:fuzz", nullptr, nullptr) != 0) abort();
    if (nebula_server_start(server, &queue, 1, nullptr) != 0) abort();
  }

  ~World() {
    nebula_channel_free(channel);
    nebula_server_free(server);
    nebula_queue_free(queue);
    nebula_engine_free(engine);
  }

  void poll() {
    int32_t count = nebula_poll(queue, 0);
    const nebula_event* events = nebula_queue_events(queue);
    for (int32_t i = 0; i < count; i++) {
      const nebula_event& event = events[i];
      if (event.kind == NEBULA_EV_CALL) ids.push_back(event.call);
      if (event.kind == NEBULA_EV_FINISHED && ++finished[event.call] != 1) abort();
      if (event.data != nullptr) sum += event.size > 0 ? event.data[event.size - 1] : 0;  // it must be readable
    }
  }

  uint64_t id(Input* input) {
    uint8_t which = input->byte();
    if (which >= 250 || ids.empty()) return which * 0x100000001ull;  // of nobody
    return ids[which % ids.size()];
  }

  nebula_engine* engine;
  nebula_queue* queue;
  nebula_server* server;
  nebula_channel* channel;
  std::vector<uint64_t> methods;
  std::vector<uint64_t> ids;               // of calls, on both sides, dead ones too
  std::map<uint64_t, int> finished;
  unsigned sum = 0;
};

void step(World* world, Input* input) {
  static const char junk[300] = {5, 0, 0, 0, 2, 0, 0, 0, 'w', 'h', 'e', 'r', 'e', 't', 'o'};
  uint8_t kind = input->byte();
  switch (kind % 12) {
    case 0: case 1: {
      uint8_t flags = input->byte();
      std::string_view metadata = input->take(input->byte() % 32), data = input->take(input->byte());
      uint64_t method = world->methods[input->byte() % world->methods.size()];
      uint64_t parent = kind % 12 == 1 ? world->id(input) : 0;
      uint64_t call = nebula_call_start_under(world->queue, method, 7, flags & 128 ? 1000 : 0, metadata.data(),
                                              static_cast<uint32_t>(metadata.size()), data.data(),
                                              static_cast<uint32_t>(data.size()), flags & 127u, parent);
      if (call != 0) world->ids.push_back(call);
      return;
    }
    case 2: {
      uint64_t call = world->id(input);
      std::string_view data = input->take(input->byte());
      nebula_call_send(call, data.data(), static_cast<uint32_t>(data.size()), input->byte() & 3u);
      return;
    }
    case 3: {
      uint64_t call = world->id(input);
      std::string run;
      for (int count = input->byte() % 4; count > 0; count--) {
        std::string_view message = input->take(input->byte() % 16);
        run.append(4, 0).push_back(static_cast<char>(message.size()));
        run.append(message);
      }
      uint8_t flags = input->byte();
      if (flags & 4) run.append(input->take(4));
      nebula_call_send(call, run.data(), static_cast<uint32_t>(run.size()), (flags & 3u) | NEBULA_RUN);
      return;
    }
    case 4: {
      nebula_buffer* buffer = nebula_buffer_new(input->byte() * 100u);
      nebula_buffer_trim(buffer, input->byte());
      nebula_call_give(world->id(input), buffer, input->byte() & 1u);
      return;
    }
    case 5: {
      uint64_t call = world->id(input);
      int32_t status = static_cast<int32_t>(input->byte() % 20) - 1;
      nebula_call_finish(call, status, status % 2 ? "why" : nullptr, junk, input->byte() % 32);
      return;
    }
    case 6: nebula_call_cancel(world->id(input), input->byte() % 20); return;
    case 7: nebula_call_headers(world->id(input), junk, input->byte() % 2 ? 15 : 3); return;
    case 8: nebula_call_consume(world->id(input), input->byte() * 1000ull); return;
    case 9: nebula_call_tag(world->id(input), input->byte()); return;
    case 10: {
      nebula_call_info info{};
      info.size = sizeof info;
      nebula_call_describe(world->id(input), &info);
      return;
    }
    default: world->poll(); return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  World world;
  for (int i = 0; i < operations_max && !input.empty(); i++) step(&world, &input);
  for (int i = 0; i < 3; i++) world.poll();
  return 0;
}
