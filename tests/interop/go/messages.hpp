// interop/go/messages.hpp - the messages of grpc.testing, by protobuf-c, as nebula.hpp takes messages; and flags.
#ifndef NEBULA_TESTS_INTEROP_MESSAGES_HPP
#define NEBULA_TESTS_INTEROP_MESSAGES_HPP

#include <map>
#include <nebula.hpp>

#include "grpc/testing/testing.pb-c.h"

namespace interop {

// Made here, `->` is a struct of protobuf-c whose pointers are lent to it until it is packed; parsed, it owns all.
template <class T, const ProtobufCMessageDescriptor* descriptor>
class Message {
 public:
  Message() { protobuf_c_message_init(descriptor, &made_); }

  T* operator->() { return parsed_ != nullptr ? parsed_.get() : &made_; }
  T* get() { return operator->(); }

  std::string SerializeAsString() const {
    const T* whole = parsed_ != nullptr ? parsed_.get() : &made_;
    const ProtobufCMessage* message = reinterpret_cast<const ProtobufCMessage*>(whole);
    std::string bytes(protobuf_c_message_get_packed_size(message), '\0');
    protobuf_c_message_pack(message, reinterpret_cast<uint8_t*>(bytes.data()));
    return bytes;
  }

  bool ParseFromString(const std::string& bytes) {
    const uint8_t* data = reinterpret_cast<const uint8_t*>(bytes.data());
    parsed_.reset(reinterpret_cast<T*>(protobuf_c_message_unpack(descriptor, nullptr, bytes.size(), data)));
    return parsed_ != nullptr;
  }

 private:
  struct Free {
    void operator()(T* message) const {
      protobuf_c_message_free_unpacked(reinterpret_cast<ProtobufCMessage*>(message), nullptr);
    }
  };
  T made_;
  std::unique_ptr<T, Free> parsed_;
};

using Empty = Message<Grpc__Testing__Empty, &grpc__testing__empty__descriptor>;
using Payload = Message<Grpc__Testing__Payload, &grpc__testing__payload__descriptor>;
using EchoStatus = Message<Grpc__Testing__EchoStatus, &grpc__testing__echo_status__descriptor>;
using SimpleRequest = Message<Grpc__Testing__SimpleRequest, &grpc__testing__simple_request__descriptor>;
using SimpleResponse = Message<Grpc__Testing__SimpleResponse, &grpc__testing__simple_response__descriptor>;
using InputRequest =
    Message<Grpc__Testing__StreamingInputCallRequest, &grpc__testing__streaming_input_call_request__descriptor>;
using InputResponse =
    Message<Grpc__Testing__StreamingInputCallResponse, &grpc__testing__streaming_input_call_response__descriptor>;
using ResponseParameters = Message<Grpc__Testing__ResponseParameters, &grpc__testing__response_parameters__descriptor>;
using OutputRequest =
    Message<Grpc__Testing__StreamingOutputCallRequest, &grpc__testing__streaming_output_call_request__descriptor>;
using OutputResponse =
    Message<Grpc__Testing__StreamingOutputCallResponse, &grpc__testing__streaming_output_call_response__descriptor>;

inline constexpr char echo_initial[] = "x-grpc-test-echo-initial";
inline constexpr char echo_trailing[] = "x-grpc-test-echo-trailing-bin";

// A message whose `payload` is that many zeros.
template <class M>
std::string pack_with_payload(M& message, size_t size) {
  std::vector<uint8_t> zeros(size);
  Payload payload;
  payload->body = {zeros.size(), zeros.data()};
  message->payload = payload.get();
  return message.SerializeAsString();
}

inline size_t size_of(const Grpc__Testing__Payload* payload) { return payload == nullptr ? 0 : payload->body.len; }

// --name=value, --name value, and --name for "true".
class Flags {
 public:
  Flags(int argc, char** argv) {
    for (int i = 1; i < argc; i++) {
      std::string flag = argv[i];
      size_t equals = flag.find('=');
      if (flag.rfind("--", 0) != 0) throw nebula::Error(NEBULA_INVALID_ARGUMENT, "no flag: " + flag);
      if (equals != std::string::npos)
        values_[flag.substr(2, equals - 2)] = flag.substr(equals + 1);
      else
        values_[flag.substr(2)] = i + 1 < argc && argv[i + 1][0] != '-' ? argv[++i] : "true";
    }
  }

  std::string text(const std::string& name, const std::string& otherwise) const {
    auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }
  int number(const std::string& name, int otherwise) const { return std::stoi(text(name, std::to_string(otherwise))); }
  bool is_set(const std::string& name) const { return text(name, "false") == "true"; }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace interop

#endif
