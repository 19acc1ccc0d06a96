// interop/go/interop_client.cc - gRPC's interop test cases on nebula.hpp, against anybody's interop server.
//
// usage: interop_client --server_host=H --server_port=N --test_case=C [--use_tls=true --ca_file=F
//        --server_host_override=NAME] [--soak_iterations=N --soak_num_threads=N ...]      exit code 0: it holds
//
// What each case must see is gRPC's doc/interop-test-descriptions.md.
#include <atomic>
#include <iostream>

#include "messages.hpp"

using namespace interop;
using namespace std::chrono_literals;

namespace {

constexpr char unary_call[] = "/grpc.testing.TestService/UnaryCall";
constexpr char full_duplex_call[] = "/grpc.testing.TestService/FullDuplexCall";
constexpr char input_call[] = "/grpc.testing.TestService/StreamingInputCall";
const std::vector<int> request_sizes{27182, 8, 1828, 45904};
const std::vector<int> response_sizes{31415, 9, 2653, 58979};

template <class Found, class Expected>
void expect(const char* what, const Found& found, const Expected& expected) {
  if (!(found == expected)) throw std::runtime_error(std::string(what) + " is not what it should be");
}

template <class Work>
nebula::Error error_of(Work work) {
  try {
    work();
  } catch (const nebula::Error& error) {
    return error;
  }
  throw std::runtime_error("the call should have failed");
}

std::string simple_request(int response_size, size_t payload_size) {
  SimpleRequest request;
  request->response_size = response_size;
  return pack_with_payload(request, payload_size);
}

std::string output_request(const std::vector<int>& sizes, size_t payload_size) {
  std::vector<ResponseParameters> parameters(sizes.size());
  std::vector<Grpc__Testing__ResponseParameters*> pointers;
  for (size_t i = 0; i < sizes.size(); i++) {
    parameters[i]->size = sizes[i];
    pointers.push_back(parameters[i].get());
  }
  OutputRequest request;
  request->n_response_parameters = pointers.size();
  request->response_parameters = pointers.data();
  return pack_with_payload(request, payload_size);
}

// A request, unary or of a stream, that asks for a status.
template <class Request>
std::string status_request(int32_t code, std::string message) {
  EchoStatus status;
  status->code = code;
  status->message = message.data();
  Request request;
  request->response_status = status.get();
  return request.SerializeAsString();
}

void large_unary(nebula::Channel& channel, int request_size, int response_size, std::chrono::milliseconds timeout) {
  std::string request = simple_request(response_size, static_cast<size_t>(request_size));
  SimpleResponse response = channel.call<SimpleResponse>(unary_call, request, timeout);
  expect("the size of the payload", size_of(response->payload), static_cast<size_t>(response_size));
}

void empty_unary(nebula::Channel& channel) {
  expect("the response", channel.call("/grpc.testing.TestService/EmptyCall", "", 10s), std::string());
}

void client_streaming(nebula::Channel& channel) {
  auto stream = channel.client_stream<std::string, InputResponse>(input_call, 10s);
  for (int size : request_sizes) {
    InputRequest request;
    stream.write(pack_with_payload(request, static_cast<size_t>(size)));
  }
  expect("the sum", stream.finish()->aggregated_payload_size, 74922);
}

void server_streaming(nebula::Channel& channel) {
  auto stream = channel.server_stream<OutputResponse>("/grpc.testing.TestService/StreamingOutputCall",
                                                      output_request(response_sizes, 0), 10s);
  size_t count = 0;
  for (OutputResponse& response : stream)
    expect("a payload", size_of(response->payload), static_cast<size_t>(response_sizes.at(count++)));
  expect("the count of responses", count, response_sizes.size());
}

void ping_pong(nebula::Channel& channel) {
  auto stream = channel.bidi<std::string, OutputResponse>(full_duplex_call, 10s);
  for (size_t i = 0; i < request_sizes.size(); i++) {
    stream.write(output_request({response_sizes[i]}, static_cast<size_t>(request_sizes[i])));
    std::optional<OutputResponse> response = stream.read();
    expect("that there is a response", response.has_value(), true);
    expect("a payload", size_of((*response)->payload), static_cast<size_t>(response_sizes[i]));
  }
  stream.end();
  expect("that there is a fifth response", stream.read().has_value(), false);
}

void empty_stream(nebula::Channel& channel) {
  auto stream = channel.bidi(full_duplex_call, 10s);
  stream.end();
  expect("that there is a response", stream.read().has_value(), false);
}

void timeout_on_sleeping_server(nebula::Channel& channel) {
  nebula::Error error = error_of([&] {
    auto stream = channel.bidi(full_duplex_call, 1ms);
    stream.write(output_request({}, 27182));
    stream.read();
  });
  expect("the code", error.code(), NEBULA_DEADLINE_EXCEEDED);
}

void cancel_after_begin(nebula::Channel& channel) {
  auto stream = channel.client_stream(input_call, 10s);
  stream.cancel();
  expect("the code", error_of([&] { stream.finish(); }).code(), NEBULA_CANCELLED);
}

void cancel_after_first_response(nebula::Channel& channel) {
  auto stream = channel.bidi(full_duplex_call, 10s);
  stream.write(output_request({31415}, 27182));
  expect("that there is a response", stream.read().has_value(), true);
  stream.cancel();
  expect("the code", error_of([&] { stream.read(); }).code(), NEBULA_CANCELLED);
}

void check_unary_status(nebula::Channel& channel, const std::string& message) {
  nebula::Error error =
      error_of([&] { channel.call(unary_call, status_request<SimpleRequest>(NEBULA_UNKNOWN, message), 10s); });
  expect("the code", error.code(), NEBULA_UNKNOWN);
  expect("the message", error.message(), message);
}

void status_code_and_message(nebula::Channel& channel) {
  check_unary_status(channel, "test status message");
  auto stream = channel.bidi(full_duplex_call, 10s);
  stream.write(status_request<OutputRequest>(NEBULA_UNKNOWN, "test status message"));
  stream.end();
  nebula::Error error = error_of([&] { stream.read(); });
  expect("the code", error.code(), NEBULA_UNKNOWN);
  expect("the message", error.message(), "test status message");
}

void special_status_message(nebula::Channel& channel) {
  check_unary_status(channel, "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n");
}

void check_echo(const nebula::Metadata& headers, const nebula::Metadata& trailers) {
  const std::string *initial = headers.find(echo_initial), *trailing = trailers.find(echo_trailing);
  expect("that the initial metadata are there", initial != nullptr && trailing != nullptr, true);
  expect("the initial metadata", *initial, "test_initial_metadata_value");
  expect("the trailing metadata", *trailing, "\xab\xab\xab");
}

void custom_metadata(nebula::Channel& channel) {
  nebula::CallOptions options(10s);
  options.metadata(echo_initial, "test_initial_metadata_value").metadata(echo_trailing, "\xab\xab\xab");
  nebula::Future<std::string> unary = channel.start(unary_call, simple_request(314159, 271828), options);
  unary.get();
  check_echo(unary.headers(), unary.trailers());
  auto stream = channel.bidi(full_duplex_call, options);
  stream.write(output_request({314159}, 271828));
  expect("that there is a response", stream.read().has_value(), true);
  stream.end();
  expect("that there is a second response", stream.read().has_value(), false);
  check_echo(stream.headers(), stream.trailers());
}

void unimplemented_method(nebula::Channel& channel) {
  const std::string method = "/grpc.testing.TestService/UnimplementedCall";
  expect("the code", error_of([&] { channel.call(method, "", 10s); }).code(), NEBULA_UNIMPLEMENTED);
}

void unimplemented_service(nebula::Channel& channel) {
  const std::string method = "/grpc.testing.UnimplementedService/UnimplementedCall";
  expect("the code", error_of([&] { channel.call(method, "", 10s); }).code(), NEBULA_UNIMPLEMENTED);
}

// large_unary again and again by several threads; on one channel, or on a new one for each.
void soak(const Flags& flags, const std::function<std::unique_ptr<nebula::Channel>()>& connect, bool is_channel_soak) {
  const int threads = flags.number("soak_num_threads", 1), iterations = flags.number("soak_iterations", 10) / threads;
  const int request_size = flags.number("soak_request_size", 271828);
  const int response_size = flags.number("soak_response_size", 314159);
  const std::chrono::milliseconds timeout(flags.number("soak_per_iteration_max_acceptable_latency_ms", 1000));
  std::unique_ptr<nebula::Channel> shared = is_channel_soak ? nullptr : connect();
  std::atomic<int> good{0}, bad{0};
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; i++)
    workers.emplace_back([&] {
      for (int j = 0; j < iterations; j++) try {
          std::unique_ptr<nebula::Channel> own = is_channel_soak ? connect() : nullptr;
          large_unary(own != nullptr ? *own : *shared, request_size, response_size, timeout);
          good++;
        } catch (const std::exception& error) {
          if (bad++ == 0) std::cerr << "soak: " << error.what() << "\n";
        }
    });
  for (std::thread& worker : workers) worker.join();
  std::cout << "soak: " << good << " good, " << bad << " bad, " << threads << " threads\n";
  expect("the count of good calls", good.load(), iterations * threads);
}

const std::map<std::string, void (*)(nebula::Channel&)> cases{
    {"empty_unary", empty_unary},
    {"large_unary", [](nebula::Channel& channel) { large_unary(channel, 271828, 314159, 10s); }},
    {"client_streaming", client_streaming},
    {"server_streaming", server_streaming},
    {"ping_pong", ping_pong},
    {"empty_stream", empty_stream},
    {"timeout_on_sleeping_server", timeout_on_sleeping_server},
    {"cancel_after_begin", cancel_after_begin},
    {"cancel_after_first_response", cancel_after_first_response},
    {"status_code_and_message", status_code_and_message},
    {"special_status_message", special_status_message},
    {"custom_metadata", custom_metadata},
    {"unimplemented_method", unimplemented_method},
    {"unimplemented_service", unimplemented_service},
};

}  // namespace

int main(int argc, char** argv) try {
  Flags flags(argc, argv);
  nebula::Engine engine("mem:");
  std::string address = flags.text("server_host", "127.0.0.1") + ":" + flags.text("server_port", "10000");
  std::string target = flags.is_set("use_tls") ? "tls://" + address + "?ca=" + flags.text("ca_file", "") +
                                                     "&name=" + flags.text("server_host_override", "")
                                               : "tcp://" + address;
  auto connect = [&] { return std::make_unique<nebula::Channel>(target, engine); };
  std::string name = flags.text("test_case", "large_unary");
  if (name == "rpc_soak" || name == "channel_soak") {
    soak(flags, connect, name == "channel_soak");
    return 0;
  }
  auto found = cases.find(name);
  if (found == cases.end()) throw std::runtime_error("there is no test case \"" + name + "\"");
  found->second(*connect());
} catch (const std::exception& error) {
  std::cerr << "interop_client: " << error.what() << "\n";
  return 1;
}
