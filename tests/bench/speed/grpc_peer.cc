// bench/speed/grpc_peer.cc - bench.Echo on gRPC C++: the callback API, and the asynchronous one with a thread for each
// completion queue, which its performance guide names as the fastest.
//
// usage: grpc_peer serve async|callback [unix:path | certificate key]        prints its address; until it is killed
//        grpc_peer load <address> <unary|stream> <payload bytes> <connections> <in flight on each> <seconds>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "echo.grpc.pb.h"

namespace {

using bench::Echo;
using bench::Value;
using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "grpc_peer: %s\n", why.c_str());
  std::exit(1);
}

// What a completion queue hands back: it goes on.
struct Step {
  virtual ~Step() = default;
  virtual void on(bool ok) = 0;
};

void run(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) static_cast<Step*>(tag)->on(ok);
}

// ---- servers

class UnaryCall final : public Step {
 public:
  UnaryCall(Echo::AsyncService& service, grpc::ServerCompletionQueue& queue) : service_(service), queue_(queue), answer_(&context_) {
    service_.RequestUnary(&context_, &request_, &answer_, &queue_, &queue_, this);
  }
  void on(bool ok) override {
    if (!ok || is_answered_) return delete this;
    new UnaryCall(service_, queue_);
    is_answered_ = true;
    Value value;
    value.set_value(request_.value());
    answer_.Finish(value, grpc::Status::OK, this);
  }

 private:
  Echo::AsyncService& service_;
  grpc::ServerCompletionQueue& queue_;
  grpc::ServerContext context_;
  Value request_;
  grpc::ServerAsyncResponseWriter<Value> answer_;
  bool is_answered_ = false;
};

class StreamCall final : public Step {
 public:
  StreamCall(Echo::AsyncService& service, grpc::ServerCompletionQueue& queue) : service_(service), queue_(queue), stream_(&context_) {
    service_.RequestStream(&context_, &stream_, &queue_, &queue_, this);
  }
  void on(bool ok) override {
    switch (next_) {
      case begin:
        if (!ok) return delete this;
        new StreamCall(service_, queue_);
        return read();
      case answer:
        if (!ok) return finish();
        message_.set_value(std::string(message_.value()));
        next_ = more;
        return stream_.Write(message_, this);
      case more: return ok ? read() : finish();
      case end: delete this;
    }
  }

 private:
  enum { begin, answer, more, end } next_ = begin;

  void read() {
    next_ = answer;
    stream_.Read(&message_, this);
  }
  void finish() {
    next_ = end;
    stream_.Finish(grpc::Status::OK, this);
  }

  Echo::AsyncService& service_;
  grpc::ServerCompletionQueue& queue_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<Value, Value> stream_;
  Value message_;
};

class Callbacks final : public Echo::CallbackService {
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const Value* request, Value* answer) override {
    answer->set_value(request->value());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  class Reactor final : public grpc::ServerBidiReactor<Value, Value> {
   public:
    Reactor() { StartRead(&message_); }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status::OK);
      message_.set_value(std::string(message_.value()));
      StartWrite(&message_);
    }
    void OnWriteDone(bool ok) override {
      if (ok) StartRead(&message_);
    }
    void OnDone() override { delete this; }

   private:
    Value message_;
  };
  grpc::ServerBidiReactor<Value, Value>* Stream(grpc::CallbackServerContext*) override { return new Reactor; }
};

std::string text_of(const char* path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

int serve(bool is_async, const std::string& address, const char* certificate, const char* key) {
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (key != nullptr) {
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({text_of(key), text_of(certificate)});
    credentials = grpc::SslServerCredentials(options);
  }
  Echo::AsyncService asynchronous;
  Callbacks callbacks;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, credentials, &port);
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  if (is_async) {
    builder.RegisterService(&asynchronous);
    queue = builder.AddCompletionQueue();
  } else {
    builder.RegisterService(&callbacks);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) fail("cannot listen");
  bool is_unix = address.rfind("unix:", 0) == 0;
  std::printf("%s\n", is_unix ? address.c_str() : ("127.0.0.1:" + std::to_string(port)).c_str());
  std::fflush(stdout);
  if (!is_async) return server->Wait(), 0;
  for (int i = 0; i < 200; i++) new UnaryCall(asynchronous, *queue);  // ready for as many to arrive at once
  new StreamCall(asynchronous, *queue);
  run(*queue);
  return 0;
}

// ---- client

std::string payload;
std::vector<double> latencies_us;
Clock::time_point warm, end;

void measured(Clock::time_point began) {
  Clock::time_point now = Clock::now();
  if (now >= end) {
    double took = std::chrono::duration<double>(now - warm).count();
    std::sort(latencies_us.begin(), latencies_us.end());
    size_t count = latencies_us.size();
    if (count == 0) fail("nothing was answered");
    std::printf("{\"count\": %zu, \"seconds\": %.4f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", count, took,
                latencies_us[count / 2], latencies_us[count * 99 / 100]);
    std::fflush(stdout);
    std::_Exit(0);
  }
  if (began >= warm) latencies_us.push_back(std::chrono::duration<double, std::micro>(now - began).count());
}

void check(const Value& answer) {
  if (answer.value().size() != payload.size()) fail("an answer of another length");
}

class Caller final : public Step {
 public:
  Caller(Echo::Stub& stub, grpc::CompletionQueue& queue) : stub_(stub), queue_(queue) { start(); }
  void on(bool) override {
    if (!status_.ok()) fail(status_.error_message());
    check(answer_);
    measured(began_);
    start();
  }

 private:
  void start() {
    began_ = Clock::now();
    context_ = std::make_unique<grpc::ClientContext>();
    Value request;
    request.set_value(payload);
    reader_ = stub_.AsyncUnary(context_.get(), request, &queue_);
    reader_->Finish(&answer_, &status_, this);
  }

  Echo::Stub& stub_;
  grpc::CompletionQueue& queue_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Value>> reader_;
  Value answer_;
  grpc::Status status_;
  Clock::time_point began_;
};

// Keeps so many messages of one stream between writing and reading.
class Talker {
 public:
  Talker(Echo::Stub& stub, grpc::CompletionQueue& queue, int in_flight)
      : waiting_(in_flight), stream_(stub.AsyncStream(&context_, &queue, &reader_)) {}

 private:
  struct Reader final : Step {
    explicit Reader(Talker& talker) : talker(talker) {}
    void on(bool ok) override { talker.on_read(ok); }
    Talker& talker;
  };
  struct Writer final : Step {
    explicit Writer(Talker& talker) : talker(talker) {}
    void on(bool ok) override { talker.on_written(ok); }
    Talker& talker;
  };

  void on_read(bool ok) {
    if (!ok) fail("the stream has ended");
    if (std::exchange(is_open_, true)) {
      check(answer_);
      measured(began_.front());
      began_.pop_front();
      waiting_++;
    }
    stream_->Read(&answer_, &reader_);
    write();
  }
  void on_written(bool ok) {
    if (!ok) fail("the stream cannot be written to");
    is_writing_ = false;
    write();
  }
  void write() {
    if (is_writing_ || waiting_ == 0) return;
    is_writing_ = true;
    waiting_--;
    Value request;
    request.set_value(payload);
    began_.push_back(Clock::now());
    // More is coming: it may be sent together.
    stream_->Write(request, waiting_ > 0 ? grpc::WriteOptions().set_buffer_hint() : grpc::WriteOptions(), &writer_);
  }

  Reader reader_{*this};
  Writer writer_{*this};
  int waiting_;
  bool is_open_ = false, is_writing_ = false;
  grpc::ClientContext context_;
  Value answer_;
  std::deque<Clock::time_point> began_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Value, Value>> stream_;
};

void load(const std::string& address, bool is_stream, size_t size, int connections, int in_flight, double seconds) {
  payload.assign(size, 'x');
  auto duration = [](double s) { return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s)); };
  warm = Clock::now() + duration(seconds * 0.1);
  end = warm + duration(seconds);
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Echo::Stub>> stubs;
  for (int c = 0; c < connections; c++) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    stubs.push_back(Echo::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments)));
    if (is_stream)
      new Talker(*stubs.back(), queue, in_flight);
    else
      for (int i = 0; i < in_flight; i++) new Caller(*stubs.back(), queue);
  }
  run(queue);
}

}  // namespace

int main(int count, char** words) {
  std::string role = count > 2 ? words[1] : "";
  if (role == "serve") {
    bool is_async = std::string(words[2]) == "async", is_secure = count > 4;
    const char* address = count == 4 ? words[3] : "127.0.0.1:0";
    return serve(is_async, address, is_secure ? words[3] : nullptr, is_secure ? words[4] : nullptr);
  }
  if (role != "load" || count != 8) fail("usage: see the head of grpc_peer.cc");
  load(words[2], std::string(words[3]) == "stream", std::strtoul(words[4], nullptr, 10), std::atoi(words[5]), std::atoi(words[6]), std::atof(words[7]));
}
