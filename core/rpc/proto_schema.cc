// rpc/proto_schema.cc - one JSON Schema for each message, and for each method two names.
#include "rpc/proto_schema.h"

#include <algorithm>
#include <map>
#include <set>

#include "nebula/descriptor.pb-c.h"
#include "rpc/json.h"

namespace nebula {

namespace {

using File = Nebula__Descriptor__File;
using Message = Nebula__Descriptor__Message;
using Field = Nebula__Descriptor__Field;
using Enum = Nebula__Descriptor__Enum;

struct Release {
  void operator()(File* file) const { nebula__descriptor__file__free_unpacked(file, nullptr); }
};

// FieldDescriptorProto.Type.
enum Type : int32_t {
  type_double = 1, type_float = 2, type_int64 = 3, type_uint64 = 4, type_int32 = 5, type_fixed64 = 6, type_fixed32 = 7,
  type_bool = 8, type_string = 9, type_group = 10, type_message = 11, type_bytes = 12, type_uint32 = 13, type_enum = 14,
  type_sfixed32 = 15, type_sfixed64 = 16, type_sint32 = 17, type_sint64 = 18,
};
constexpr int32_t label_repeated = 3;

std::string_view text(const char* name) { return name == nullptr ? std::string_view() : name; }

std::string_view without_dot(std::string_view name) { return name.starts_with('.') ? name.substr(1) : name; }

std::string joined(std::string_view scope, const char* name) {
  return scope.empty() ? std::string(text(name)) : std::string(scope).append(".").append(text(name));
}

// What protoc makes of a field's name: item_count is itemCount.
std::string camel(std::string_view name) {
  std::string out;
  bool is_next_upper = false;
  for (char c : name) {
    if (c == '_') {
      is_next_upper = true;
      continue;
    }
    out.push_back(is_next_upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    is_next_upper = false;
  }
  return out;
}

std::string reference(std::string_view name) { return "{\"$ref\":" + json_string("#/$defs/" + std::string(name)) + "}"; }

std::string integer(std::string_view format) {
  return "{\"type\":[\"integer\",\"string\",\"null\"],\"format\":\"" + std::string(format) + "\"}";
}
std::string number(std::string_view format) {
  return "{\"type\":[\"number\",\"string\",\"null\"],\"format\":\"" + std::string(format) + "\"}";
}
constexpr std::string_view boolean = R"({"type":["boolean","null"]})";
constexpr std::string_view string = R"({"type":["string","null"]})";
constexpr std::string_view bytes = R"({"type":["string","null"],"contentEncoding":"base64"})";

// Types whose JSON is not that of their fields.
std::string well_known(std::string_view name) {
  constexpr std::string_view package = "google.protobuf.";
  if (!name.starts_with(package)) return {};
  name.remove_prefix(package.size());
  static const std::map<std::string_view, std::string> known = {
      {"Any", R"({"type":"object"})"},
      {"BoolValue", std::string(boolean)},
      {"BytesValue", std::string(bytes)},
      {"DoubleValue", number("double")},
      {"Duration", R"({"type":"string","format":"duration"})"},
      {"Empty", R"({"type":"object","additionalProperties":false})"},
      {"FieldMask", R"({"type":"string"})"},
      {"FloatValue", number("float")},
      {"Int32Value", integer("int32")},
      {"Int64Value", integer("int64")},
      {"ListValue", R"({"type":"array"})"},
      {"StringValue", std::string(string)},
      {"Struct", R"({"type":"object"})"},
      {"Timestamp", R"({"type":"string","format":"date-time"})"},
      {"UInt32Value", integer("uint32")},
      {"UInt64Value", integer("uint64")},
      {"Value", "true"},
  };
  auto found = known.find(name);
  return found == known.end() ? std::string() : found->second;
}

std::string_view shape_of(const Nebula__Descriptor__Method& method) {
  bool is_in = method.client_streaming, is_out = method.server_streaming;
  return is_in ? (is_out ? "bidi" : "client_stream") : is_out ? "server_stream" : "unary";
}

}  // namespace

// The files that were looked into, and what they define.
struct ProtoSchemas::Files {
  explicit Files(const Descriptors& descriptors) : descriptors(descriptors) {}

  const Message* message(std::string_view name) { return find(messages, name); }

  template <class T>
  const T* find(const std::map<std::string, const T*, std::less<>>& known, std::string_view name) {
    if (seen.insert(std::string(name)).second) {
      std::vector<Bytes> files = descriptors.by_symbol(name);
      if (!files.empty()) read(files.front());
    }
    auto found = known.find(name);
    return found == known.end() ? nullptr : found->second;
  }

  void read(const Bytes& file) {
    if (!read_already.insert(file.data()).second) return;
    parsed.emplace_back(
        nebula__descriptor__file__unpack(nullptr, file.size(), reinterpret_cast<const uint8_t*>(file.data())));
    const File* each = parsed.back().get();
    if (each == nullptr) return;
    std::string_view scope = text(each->package);
    for (size_t i = 0; i < each->n_message_type; i++) note(scope, each->message_type[i]);
    for (size_t i = 0; i < each->n_enum_type; i++) enums[joined(scope, each->enum_type[i]->name)] = each->enum_type[i];
    for (size_t i = 0; i < each->n_service; i++) services[joined(scope, each->service[i]->name)] = each->service[i];
  }

  void note(std::string_view scope, const Message* message) {
    std::string name = joined(scope, message->name);
    for (size_t i = 0; i < message->n_nested_type; i++) note(name, message->nested_type[i]);
    for (size_t i = 0; i < message->n_enum_type; i++) enums[joined(name, message->enum_type[i]->name)] = message->enum_type[i];
    messages[std::move(name)] = message;
  }

  std::string one_of(std::string_view type) {
    if (type == "google.protobuf.NullValue") return R"({"enum":[null,"NULL_VALUE",0]})";
    const Enum* known = find(enums, type);
    if (known == nullptr) return "true";
    std::string names;
    for (size_t i = 0; i < known->n_value; i++)
      names.append(names.empty() ? "" : ",").append(json_string(text(known->value[i]->name)));
    return R"({"anyOf":[{"enum":[)" + names + R"(]},{"type":"integer"},{"type":"null"}]})";
  }

  // Of a value by itself; null stands for none.
  std::string value(const Field& field) {
    std::string_view type = without_dot(text(field.type_name));
    switch (field.type) {
      case type_double: return number("double");
      case type_float: return number("float");
      case type_int64: case type_sint64: case type_sfixed64: return integer("int64");
      case type_uint64: case type_fixed64: return integer("uint64");
      case type_int32: case type_sint32: case type_sfixed32: return integer("int32");
      case type_uint32: case type_fixed32: return integer("uint32");
      case type_bool: return std::string(boolean);
      case type_string: return std::string(string);
      case type_bytes: return std::string(bytes);
      case type_enum: return one_of(type);
      case type_message: case type_group:
        return R"({"anyOf":[)" + reference(type) + R"(,{"type":"null"}]})";
      default: return "true";
    }
  }

  std::string schema(const Field& field) {
    if (field.label != label_repeated) return value(field);
    const Message* entry = field.type == type_message ? message(without_dot(text(field.type_name))) : nullptr;
    if (entry == nullptr || entry->options == nullptr || !entry->options->map_entry)
      return R"({"type":["array","null"],"items":)" + value(field) + "}";
    for (size_t i = 0; i < entry->n_field; i++)
      if (entry->field[i]->number == 2)
        return R"({"type":["object","null"],"additionalProperties":)" + value(*entry->field[i]) + "}";
    return "true";
  }

  const Descriptors& descriptors;
  std::vector<std::unique_ptr<File, Release>> parsed;
  std::set<const char*> read_already;
  std::set<std::string, std::less<>> seen;
  std::map<std::string, const Message*, std::less<>> messages;
  std::map<std::string, const Enum*, std::less<>> enums;
  std::map<std::string, const Nebula__Descriptor__Service*, std::less<>> services;
};

ProtoSchemas::ProtoSchemas(const Descriptors& descriptors) : files_(std::make_unique<Files>(descriptors)) {}
ProtoSchemas::~ProtoSchemas() = default;

std::string ProtoSchemas::definition(std::string_view name) {
  if (std::string known = well_known(name); !known.empty()) return known;
  const Message* message = files_->message(name);
  if (message == nullptr) return {};
  std::string fields;
  auto add = [&fields](std::string_view field, const std::string& schema) {
    fields.append(fields.empty() ? "" : ",").append(json_string(field)).append(":").append(schema);
  };
  for (size_t i = 0; i < message->n_field; i++) {
    const Field& field = *message->field[i];
    std::string_view original = text(field.name);
    std::string name_in_json = field.json_name != nullptr ? field.json_name : camel(original);
    std::string schema = files_->schema(field);
    add(name_in_json, schema);
    if (name_in_json == original) continue;
    std::string alias = "\"x-alias-of\":" + json_string(name_in_json);
    add(original, schema == "true" ? "{" + alias + "}" : schema.substr(0, schema.size() - 1) + "," + alias + "}");
  }
  // "[shop.v1.extra]" is a field, too.
  std::string_view others = message->n_extension_range == 0 ? "false" : "true";
  return R"({"type":"object","properties":{)" + fields + R"(},"additionalProperties":)" + std::string(others) + "}";
}

std::string ProtoSchemas::service(std::string_view name, const std::vector<std::string>& served) {
  const Nebula__Descriptor__Service* service = files_->find(files_->services, name);
  if (service == nullptr) return {};
  std::string methods;
  for (const std::string& wanted : served) {
    methods.append(methods.empty() ? "" : ",").append("{\"name\":").append(json_string(wanted));
    for (size_t i = 0; i < service->n_method; i++) {
      const Nebula__Descriptor__Method& method = *service->method[i];
      if (text(method.name) != wanted) continue;
      methods.append(",\"shape\":\"").append(shape_of(method)).append("\",\"request\":");
      methods.append(reference(without_dot(text(method.input_type)))).append(",\"response\":");
      methods.append(reference(without_dot(text(method.output_type))));
    }
    methods.append("}");
  }
  return "{\"service\":" + json_string(name) + ",\"methods\":[" + methods + "]}";
}

}  // namespace nebula
