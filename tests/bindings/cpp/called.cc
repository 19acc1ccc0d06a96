// bindings/cpp/called.cc - a case, as a user of nebula.hpp would make its call.
#include "called.hpp"

#include <google/protobuf/stubs/strutil.h>

#include <map>
#include <optional>

#include "conformance.pb.h"
#include "json.hpp"

namespace conformance {

using namespace nebula::test::v1;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

namespace {

constexpr char service[] = "/nebula.test.v1.Conformance/";
constexpr int shown_max = 20;  // answers of a result; of more only the first and the last
constexpr std::chrono::seconds recall_max(5);

// How a message of a call is made and shown: protobuf, or JSON as its text, which is all that C++ has for it.
struct Proto {
  using Request = Ask;
  using Response = Answer;
  static Ask request(const std::string& json) { return parse<Ask>(json); }
  static std::string shown(const Answer& answer) { return print(answer); }
};
struct Json {
  using Request = std::string;
  using Response = std::string;
  static std::string request(const std::string& json) { return json; }
  static std::string shown(const std::string& answer) { return answer; }
};

const char* word(nebula::Fate fate) {
  static constexpr const char* words[] = {"unsent", "unprocessed", "unknown", "processed"};
  return words[static_cast<int>(fate)];
}
const char* word(nebula::Fault fault) {
  static constexpr const char* words[] = {"none", "caller", "network", "callee", "overload"};
  return words[static_cast<int>(fault)];
}

bool is_binary(const std::string& name) { return name.size() > 4 && name.compare(name.size() - 4, 4, "-bin") == 0; }

void set_metadata(Struct& result, const std::string& name, const nebula::Metadata& metadata) {
  ListValue& shown = set_list(result, name);
  for (const auto& [key, value] : metadata) {
    if (key.rfind("x-", 0) != 0) continue;
    Struct& pair = *shown.add_values()->mutable_struct_value();
    set(pair, "name", key);
    std::string base64;
    google::protobuf::Base64Escape(value, &base64);
    is_binary(key) ? set(pair, "data", base64) : set(pair, "text", value);
  }
}

// Does something to a call after a while, unless the call has ended by then.
class Later {
 public:
  template <class Work>
  Later(int ms, Work work) : thread_([this, ms, work] {
    std::unique_lock<std::mutex> hold(lock_);
    if (!changed_.wait_for(hold, std::chrono::milliseconds(ms), [this] { return has_ended_; })) work();
  }) {}
  ~Later() {
    {
      std::lock_guard<std::mutex> hold(lock_);
      has_ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  bool has_ended_ = false;
  std::thread thread_;
};

// One call of a case.
template <class Codec>
class Run {
 public:
  using Request = typename Codec::Request;
  using Response = typename Codec::Response;

  Run(nebula::Channel& channel, const Struct& call) : channel_(channel), case_(call) {
    method_ = text(case_, "method");
    path_ = method_[0] == '/' ? method_ : service + method_;
    for (const Value& value : list(case_, "asks").values()) {
      Struct fields = value.struct_value();
      const int times = number(fields, "times", 1);
      fields.mutable_fields()->erase("times");
      asks_.insert(asks_.end(), static_cast<size_t>(times), std::make_shared<Request>(Codec::request(print(fields))));
    }
    size_t colon = text(case_, "cancel").find(':');
    cancel_ms_ = text(case_, "cancel").rfind("ms:", 0) == 0 ? std::stoi(text(case_, "cancel").substr(colon + 1)) : -1;
  }

  // The result, without what is not known of it.
  Struct outcome() {
    const Clock::time_point began = Clock::now();
    if (method_ == "Collect") collect();
    else if (method_ == "Produce") produce();
    else if (method_ == "Chat") chat();
    else unary();
    set(result_, "took_ms", Milliseconds(Clock::now() - began).count());
    set(result_, "count", static_cast<double>(count_));
    set(result_, "sent", static_cast<double>(sent_));
    ListValue& answers = set_list(result_, "answers");
    if (count_ > shown_max) answers_ = {answers_.front(), answers_.back()};
    for (const Response& answer : answers_) *answers.add_values() = parse<Value>(Codec::shown(answer));
    return std::move(result_);
  }

 private:
  nebula::CallOptions options() const {
    nebula::CallOptions options;
    if (find(case_, "timeout_ms") != nullptr) options.timeout(std::chrono::milliseconds(number(case_, "timeout_ms")));
    for (const Value& value : list(case_, "metadata").values()) {
      const Struct& pair = value.struct_value();
      std::string bytes = text(pair, "text");
      if (find(pair, "data") != nullptr) google::protobuf::Base64Unescape(text(pair, "data"), &bytes);
      options.metadata(text(pair, "name"), bytes);
    }
    if (flag(case_, "wait_for_ready")) options.wait_for_ready();
    if (flag(case_, "idempotent")) options.idempotent();
    if (text(case_, "compression") == "gzip") options.gzip();
    if (text(case_, "compression") == "zstd") options.zstd();
    std::is_same_v<Codec, Json> ? options.json() : options.proto();
    return options;
  }

  void unary() {
    nebula::Future<Response> call = channel_.start<Response>(path_, *asks_.at(0), options());
    follow(call, [&] { keep(call.get()); });
  }

  void collect() {
    nebula::ClientStream<Request, Response> call = channel_.client_stream<Request, Response>(path_, options());
    follow(call, [&] {
      for (const std::shared_ptr<Request>& ask : asks_) {
        if (!call.write(*ask)) break;
        sent_++;
      }
      // Without finish() the requests are not ended, and error() waits for the end as it does.
      if (flag(case_, "keep_open") && call.error()) throw *call.error();
      keep(call.finish());
    });
  }

  void produce() {
    std::optional call = channel_.server_stream<Response>(path_, *asks_.at(0), options());
    follow(*call, [&] { read(*call); });
    if (has_dropped_) call.reset();
  }

  void chat() {
    std::optional call = channel_.bidi<Request, Response>(path_, options());
    follow(*call, [&] {
      converse(*call);
      if (!has_dropped_) read(*call);
    });
    if (has_dropped_) call.reset();
    else if (flag(case_, "send_after_end")) set(result_, "late", is_taken(*call, Request()) ? "ignored" : "error");
  }

  void converse(nebula::BidiStream<Request, Response>& call) {
    for (const std::shared_ptr<Request>& ask : asks_) {
      if (!is_taken(call, *ask)) return;  // reading says how the call ended
      sent_++;
      if (flag(case_, "pingpong") && !read_one(call)) return;
    }
    if (!flag(case_, "keep_open")) call.end();
  }

  bool is_taken(nebula::BidiStream<Request, Response>& call, const Request& ask) {
    try {
      return call.write(ask);
    } catch (const nebula::Error&) {
      return false;
    }
  }

  template <class Stream>
  void read(Stream& call) {
    while (!has_dropped_ && read_one(call)) continue;
  }

  // False: there are no more, or nobody wants them. Throws how the call ended if it ended badly.
  template <class Stream>
  bool read_one(Stream& call) {
    std::optional<Response> answer = call.read();
    if (!answer) return false;
    keep(std::move(*answer));
    if (number(case_, "read") == static_cast<int>(count_))
      std::this_thread::sleep_for(std::chrono::milliseconds(number(case_, "pause_ms")));
    const std::string now = "answers:" + std::to_string(count_);
    if (text(case_, "cancel") == now) call.cancel();
    has_dropped_ = text(case_, "drop") == now;
    return !has_dropped_;
  }

  void keep(Response answer) {
    count_++;
    if (answers_.size() > shown_max) answers_.back() = std::move(answer);
    else answers_.push_back(std::move(answer));
  }

  // Does the work of a call, cancels it when its case says so, and notes how it ended.
  template <class Call, class Work>
  void follow(Call& call, Work work) {
    if (text(case_, "cancel") == "start") call.cancel();
    std::optional<Later> later;
    if (cancel_ms_ >= 0) later.emplace(cancel_ms_, [&call] { call.cancel(); });
    std::optional<nebula::Error> error;
    try {
      work();
    } catch (const nebula::Error& thrown) {
      error = thrown;
    }
    if (has_dropped_) return;
    if (text(case_, "cancel") == "end") call.cancel();
    set(result_, "code", error ? error->code() : 0);
    if (error) {
      set(result_, "message", error->message());
      set(result_, "fate", word(error->fate()));
      set(result_, "fault", word(error->fault()));
    }
    set_metadata(result_, "headers", call.headers());
    set_metadata(result_, "trailers", call.trailers());
  }

  nebula::Channel& channel_;
  const Struct& case_;
  std::string method_, path_;
  int cancel_ms_ = -1;  // after so long; negative: not by the clock
  std::vector<std::shared_ptr<Request>> asks_;  // the same one may be in it many times
  std::vector<Response> answers_;
  size_t count_ = 0, sent_ = 0;
  bool has_dropped_ = false;
  Struct result_;
};

Struct outcome_of(nebula::Channel& channel, const Struct& call) {
  return text(call, "codec") == "json" ? Run<Json>(channel, call).outcome() : Run<Proto>(channel, call).outcome();
}

// The case many times: how often each code came.
Struct codes_of(nebula::Channel& channel, const Struct& call) {
  std::atomic<int> left{number(call, "times")};
  std::mutex lock;
  std::map<int, int> codes;
  std::vector<std::thread> threads;
  for (int i = 0; i < number(call, "at_once", 1); i++) {
    threads.emplace_back([&] {
      while (left-- > 0) {
        const int code = number(outcome_of(channel, call), "code");
        std::lock_guard<std::mutex> hold(lock);
        codes[code]++;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Struct result;
  Struct& counted = *(*result.mutable_fields())["codes"].mutable_struct_value();
  for (auto [code, count] : codes) set(counted, std::to_string(code), count);
  return result;
}

Record recalled(nebula::Channel& channel, const std::string& name) {
  Key key;
  key.set_key(name);
  const Clock::time_point end = Clock::now() + recall_max;
  while (true) {
    Record record = channel.call<Record>(std::string(service) + "Recall", key, recall_max);
    if (record.state() != "running" || Clock::now() > end) return record;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

std::string result_of(nebula::Channel& channel, const std::string& line) {
  Struct result;
  std::string name;
  try {
    const Struct call = parse<Struct>(line);
    name = text(call, "name");
    result = find(call, "times") != nullptr ? codes_of(channel, call) : outcome_of(channel, call);
    if (find(call, "recall") != nullptr)
      (*result.mutable_fields())["record"] = parse<Value>(print(recalled(channel, text(call, "recall"))));
  } catch (const std::exception& error) {
    result.Clear();
    set(result, "broken", error.what());
  }
  set(result, "name", name);
  return print(result);
}

}  // namespace conformance
