// bindings/cpp/json.hpp - JSON as protobuf has it: google.protobuf.Struct, and messages in proto3's mapping.
#ifndef NEBULA_TESTS_BINDINGS_JSON_HPP
#define NEBULA_TESTS_BINDINGS_JSON_HPP

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <stdexcept>
#include <string>

namespace conformance {

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

// Throws std::runtime_error where the text is no M.
template <class M>
M parse(const std::string& text) {
  M message;
  auto status = google::protobuf::util::JsonStringToMessage(text, &message);
  if (!status.ok()) throw std::runtime_error("malformed JSON: " + status.ToString());
  return message;
}

inline std::string print(const google::protobuf::Message& message) {
  std::string text;
  auto status = google::protobuf::util::MessageToJsonString(message, &text);
  if (!status.ok()) throw std::runtime_error("no JSON: " + status.ToString());
  return text;
}

// A field of an object, with a default where it has none.
inline const Value* find(const Struct& object, const std::string& name) {
  auto found = object.fields().find(name);
  return found == object.fields().end() ? nullptr : &found->second;
}
inline std::string text(const Struct& object, const std::string& name, const std::string& otherwise = "") {
  const Value* value = find(object, name);
  return value == nullptr ? otherwise : value->string_value();
}
inline int number(const Struct& object, const std::string& name, int otherwise = 0) {
  const Value* value = find(object, name);
  return value == nullptr ? otherwise : static_cast<int>(value->number_value());
}
inline bool flag(const Struct& object, const std::string& name) {
  const Value* value = find(object, name);
  return value != nullptr && value->bool_value();
}
inline const ListValue& list(const Struct& object, const std::string& name) {
  const Value* value = find(object, name);
  return value == nullptr ? ListValue::default_instance() : value->list_value();
}

inline void set(Struct& object, const std::string& name, const std::string& value) {
  (*object.mutable_fields())[name].set_string_value(value);
}
inline void set(Struct& object, const std::string& name, double value) {
  (*object.mutable_fields())[name].set_number_value(value);
}
inline ListValue& set_list(Struct& object, const std::string& name) {
  return *(*object.mutable_fields())[name].mutable_list_value();
}

}  // namespace conformance

#endif
