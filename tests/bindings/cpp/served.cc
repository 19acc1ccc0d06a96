// bindings/cpp/served.cc - the handlers.
#include "served.hpp"

#include <stdexcept>

namespace conformance {

using namespace nebula::test::v1;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

const std::string& value_of(const Pair& pair) { return ends_with(pair.name(), "-bin") ? pair.data() : pair.text(); }

}  // namespace

// One call being handled; the first request says how.
class Work {
 public:
  Work(Service& service, Ask ask, nebula::Context& context)
      : service_(service), ask_(std::move(ask)), context_(context), memory_(service.remember(ask_.key())) {
    nebula::Metadata headers;
    for (const Pair& pair : ask_.headers()) headers.add(pair.name(), value_of(pair));
    if (!headers.empty()) context_.send_headers(headers);
    for (const Pair& pair : ask_.trailers()) context_.add_trailer(pair.name(), value_of(pair));
  }
  ~Work() { memory_->state = context_.is_cancelled() ? Memory::cancelled : Memory::finished; }

  void count(const Ask& ask) {
    memory_->received++;
    bytes_ += ask.payload().size();
  }
  void count_sent() { memory_->sent++; }

  // Waits, relays if that has not been done, and answers with what `ask` has.
  Answer answer(const Ask& ask) {
    wait(std::chrono::milliseconds(ask_.delay_ms()));
    Answer answer;
    answer.set_payload(ask_.answer_size() != 0 ? std::string(ask_.answer_size(), '\0') : ask.payload());
    answer.set_text(ask.text());
    answer.set_number(ask.number());
    for (const auto& [name, value] : context_.metadata()) {
      if (name.rfind("x-", 0) != 0) continue;
      Pair& pair = *answer.add_metadata();
      pair.set_name(name);
      ends_with(name, "-bin") ? pair.set_data(value) : pair.set_text(value);
    }
    answer.set_left_ms(left_ms());
    answer.set_received(memory_->received);
    answer.set_received_bytes(bytes_);
    answer.set_index(index_);
    if (ask_.has_relay() && index_ == 0) *answer.mutable_relayed() = relayed();
    index_++;
    return answer;
  }

  // Throws if it is to fail.
  void fail() {
    if (ask_.throw_()) throw std::runtime_error(ask_.message());
    if (ask_.status() != 0) throw nebula::Error(ask_.status(), ask_.message());
  }

 private:
  // Also over when the caller has gone, for which a unary handler has nothing to wait.
  void wait(std::chrono::milliseconds delay) {
    for (Clock::time_point end = Clock::now() + delay; !context_.is_cancelled();) {
      Clock::duration left = end - Clock::now();
      if (left <= 0ms) return;
      std::this_thread::sleep_for(std::min<Clock::duration>(left, 5ms));
    }
    throw nebula::Error(NEBULA_CANCELLED, "the caller has gone");
  }

  int64_t left_ms() const {
    if (context_.deadline() == Clock::time_point::max()) return -1;
    return std::chrono::duration_cast<std::chrono::milliseconds>(context_.deadline() - Clock::now()).count();
  }

  Answer relayed() {
    nebula::CallOptions options;
    if (ask_.relay_timeout_ms() != 0) options.timeout(std::chrono::milliseconds(ask_.relay_timeout_ms()));
    const std::string path = std::string("/") + service_name + "/Unary";
    auto call = [&] { return service_.itself_->call<Answer>(path, ask_.relay(), options); };
    return ask_.detached() ? nebula::detached(call) : call();
  }

  Service& service_;
  const Ask ask_;
  nebula::Context& context_;
  const std::shared_ptr<Memory> memory_;
  uint64_t index_ = 0, bytes_ = 0;
};

Service::Service(nebula::Server& server) {
  const std::string prefix = std::string("/") + service_name + "/";
  server.unary(prefix + "Unary", [this](const Ask& ask, nebula::Context& context) {
    Work work(*this, ask, context);
    work.count(ask);
    Answer answer = work.answer(ask);
    work.fail();
    work.count_sent();
    return answer;
  });
  server.client_stream(prefix + "Collect", [this](nebula::Reader<Ask>& asks, nebula::Context& context) {
    std::optional<Ask> first = asks.read();
    Work work(*this, first.value_or(Ask()), context);
    for (std::optional<Ask> ask = first; ask; ask = first->early() ? std::nullopt : asks.read()) work.count(*ask);
    Answer answer = work.answer(first.value_or(Ask()));
    work.fail();
    work.count_sent();
    return answer;
  });
  server.server_stream(prefix + "Produce",
                       [this](const Ask& ask, nebula::Writer<Answer>& answers, nebula::Context& context) {
    Work work(*this, ask, context);
    work.count(ask);
    for (uint32_t i = 0; i < ask.answers(); i++) {
      answers.write(work.answer(ask));
      work.count_sent();
    }
    work.fail();
  });
  server.bidi(prefix + "Chat", [this](nebula::Stream<Ask, Answer>& stream, nebula::Context& context) {
    std::optional<Ask> first = stream.read();
    if (!first) return;
    Work work(*this, *first, context);
    for (std::optional<Ask> ask = first; ask; ask = first->early() ? std::nullopt : stream.read()) {
      work.count(*ask);
      stream.write(work.answer(*ask));
      work.count_sent();
    }
    work.fail();
  });
  server.unary(prefix + "Recall", [this](const Key& key) { return recall(key.key()); });
}

void Service::reach(const std::string& urls) {
  itself_ = std::make_unique<nebula::Channel>(urls.substr(0, urls.find(' ')));
}

std::shared_ptr<Memory> Service::remember(const std::string& key) {
  std::shared_ptr<Memory> memory = std::make_shared<Memory>();
  std::lock_guard<std::mutex> hold(lock_);
  if (!key.empty()) memories_[key] = memory;
  return memory;
}

Record Service::recall(const std::string& key) {
  static constexpr const char* states[] = {"running", "finished", "cancelled"};
  Record record;
  std::lock_guard<std::mutex> hold(lock_);
  auto found = memories_.find(key);
  record.set_state(found == memories_.end() ? "unknown" : states[found->second->state]);
  if (found != memories_.end()) {
    record.set_received(found->second->received);
    record.set_sent(found->second->sent);
  }
  return record;
}

}  // namespace conformance
