// interop/go/interop_server.cc - grpc.testing.TestService on nebula.hpp, for anybody's interop client.
//
// usage: interop_server --port=N [--use_tls=true --tls_cert_file=F --tls_key_file=F] [--descriptor_set=F]
//
// Ends with SIGTERM. --descriptor_set: of the service, by protoc, for those who ask by reflection.
#include <fstream>
#include <iostream>
#include <iterator>

#include "messages.hpp"

using namespace interop;

namespace {

void echo_metadata(nebula::Context& context) {
  if (const std::string* value = context.metadata().find(echo_initial)) context.send_headers({{echo_initial, *value}});
  if (const std::string* value = context.metadata().find(echo_trailing)) context.add_trailer(echo_trailing, *value);
}

void obey(const Grpc__Testing__EchoStatus* status) {
  if (status != nullptr && status->code != 0) throw nebula::Error(status->code, status->message);
}

void check_size(int32_t size) {
  if (size < 0) throw nebula::Error(NEBULA_INVALID_ARGUMENT, "a payload of less than no bytes was asked for");
}

std::string unary_call(SimpleRequest& request, nebula::Context& context) {
  echo_metadata(context);
  obey(request->response_status);
  check_size(request->response_size);
  SimpleResponse response;
  return pack_with_payload(response, static_cast<size_t>(request->response_size));
}

void respond(OutputRequest& request, nebula::Writer<std::string>& responses) {
  for (size_t i = 0; i < request->n_response_parameters; i++) {
    const Grpc__Testing__ResponseParameters& parameters = *request->response_parameters[i];
    if (parameters.interval_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(parameters.interval_us));
    check_size(parameters.size);
    OutputResponse response;
    responses.write(pack_with_payload(response, static_cast<size_t>(parameters.size)));
  }
}

InputResponse sum(nebula::Reader<InputRequest>& requests) {
  size_t size = 0;
  for (InputRequest& request : requests) size += size_of(request->payload);
  InputResponse response;
  response->aggregated_payload_size = static_cast<int32_t>(size);
  return response;
}

void full_duplex(nebula::Stream<OutputRequest, std::string>& stream, nebula::Context& context) {
  echo_metadata(context);
  for (OutputRequest& request : stream) {
    obey(request->response_status);
    respond(request, stream);
  }
}

void half_duplex(nebula::Stream<OutputRequest, std::string>& stream) {
  std::vector<OutputRequest> requests;
  for (OutputRequest& request : stream) requests.push_back(std::move(request));
  for (OutputRequest& request : requests) respond(request, stream);
}

std::string read_file(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  if (!file) throw nebula::Error(NEBULA_NOT_FOUND, "cannot read " + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A service that is there and does not serve, for those who ask after its health.
constexpr char asleep[] = "interop.asleep";

}  // namespace

int main(int argc, char** argv) try {
  Flags flags(argc, argv);
  nebula::Engine engine("mem:");
  nebula::Server server(engine);
  server.unary("/grpc.testing.TestService/EmptyCall", [](const Empty&) { return Empty(); });
  server.unary("/grpc.testing.TestService/UnaryCall", unary_call);
  server.server_stream("/grpc.testing.TestService/StreamingOutputCall", respond);
  server.client_stream("/grpc.testing.TestService/StreamingInputCall", sum);
  server.bidi("/grpc.testing.TestService/FullDuplexCall", full_duplex);
  server.bidi("/grpc.testing.TestService/HalfDuplexCall", half_duplex);
  if (std::string file = flags.text("descriptor_set", ""); !file.empty()) server.describe(read_file(file));
  std::string address = "127.0.0.1:" + flags.text("port", "10000");
  server.listen(flags.is_set("use_tls") ? "tls://" + address + "?cert=" + flags.text("tls_cert_file", "") +
                                              "&key=" + flags.text("tls_key_file", "")
                                        : "tcp://" + address);
  server.start();
  server.health(asleep, false);
  std::cout << "ready " << server.urls() << std::endl;
  server.run();
} catch (const nebula::Error& error) {
  std::cerr << "interop_server: " << error.what() << "\n";
  return 1;
}
