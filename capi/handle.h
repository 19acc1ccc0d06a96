// capi/handle.h - the one process-wide table: which queue a call belongs to, what a method number means.
//
// Ids cross the border instead of pointers, so whatever a binding does with an old one is harmless. One lock, held for
// a look-up and for posting to the call's loop: a queue that is being freed takes its calls out first, so whoever found
// a call under the lock may still post to its queue.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "nebula.h"
#include "rpc/nested_retries.h"
#include "service/channel.h"

namespace nebula {

class Calls;
struct Operation;

// Where a channel leads. Each queue opens a channel of its own to it when the first call of that queue needs one.
struct ChannelTarget {
  nebula_engine* engine;
  Url url;
  ChannelLimits limits;
  std::string policy;
  Encoding encoding = Encoding::identity;  // of messages with NEBULA_COMPRESS
};

// How the binding wants the messages of a stream.
struct Reading {
  explicit Reading(int32_t shape = 0) : holds((shape & NEBULA_HOLD) != 0), in_runs((shape & NEBULA_RUNS) != 0) {}

  bool holds;    // NEBULA_HOLD
  bool in_runs;  // NEBULA_RUNS
};

// What a method number of a channel stands for; calls keep it alive.
struct ClientMethod {
  std::shared_ptr<const ChannelTarget> target;
  Method method;
  Reading reading;
};

enum class Side : uint8_t { any, client, server };

// What any thread may ask of a call. Kept by the call's queue for as long as the handle is live.
struct CallFacts {
  // Of the messages of this side.
  bool streams_out(Side side) const { return side == Side::client ? streams_requests(shape) : streams_responses(shape); }

  std::string_view path;             // its method's
  Shape shape = Shape::unary;
  std::shared_ptr<const Peer> peer;  // null: a client's call, which has one only once it is sent
  Time deadline;
  Context* context = nullptr;        // a server's call; its nested(): under the table's lock, until the binding has ended it
  bool has_said_end = false;         // the binding's last message; under the table's lock
  std::atomic<size_t> unsent{0};     // what the binding has given and the stream has not taken
  std::atomic<bool> is_full{false};  // the binding was told to wait
};

uint64_t add_method(std::shared_ptr<const ClientMethod> method);  // 0: too many
std::shared_ptr<const ClientMethod> find_method(uint64_t id);     // null: none
void remove_method(uint64_t id);

uint64_t add_call(nebula_queue* queue, Calls* calls, Side side, CallFacts* facts);  // 0: too many
void remove_call(uint64_t id);
bool is_live(uint64_t id);  // the binding has not ended it, and it has not died
void remove_calls(const nebula_queue* queue);

// The call died before it was answered. True: the binding has not answered yet, so it is to hear of it. No operation
// gets through any more, and the facts are not looked at.
bool mark_dead(uint64_t id);

// Sends an operation of the binding to the loop of its call. NEBULA_OK, NEBULA_FULL or NEBULA_E_...; where it ends a
// server's call the id is dead afterwards.
int32_t submit(uint64_t id, Side side, std::unique_ptr<Operation> operation);

// As far as can be seen from here: whether a single answer of a server's call would be refused for its size.
bool has_room(uint64_t id, size_t bytes);

int32_t describe(uint64_t id, nebula_call_info* out);

// Of a server's call, for one that is made for it. Null: it is none, or is over.
NestedShare nested_of(uint64_t id);

}  // namespace nebula
