// rpc/schema.cc - a description becomes rules.
#include "rpc/schema.h"

#include <simdjson.h>

#include <algorithm>
#include <optional>

#include "rpc/json.h"
#include "rpc/router.h"
#include "rpc/schema_rules.h"

namespace nebula {

namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

// Nothing if it is not there, or something else.
template <class T>
std::optional<T> member(const object& from, std::string_view name) {
  T value;
  if (from.at_key(name).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

uint8_t kind_of(std::string_view type) {
  static constexpr std::pair<std::string_view, uint8_t> known[] = {
      {"integer", kind_integer}, {"number", kind_integer | kind_number}, {"string", kind_string},
      {"boolean", kind_boolean}, {"array", kind_list},                   {"object", kind_object},
      {"null", kind_null}};
  for (const auto& [name, kind] : known)
    if (name == type) return kind;
  return kind_any;
}

TextForm form_of(const object& schema) {
  if (member<std::string_view>(schema, "contentEncoding") == "base64") return TextForm::base64;
  std::string_view format = member<std::string_view>(schema, "format").value_or("");
  for (std::string_view each : {"int32", "int64", "uint32", "uint64"})
    if (format == each) return TextForm::integer;
  return format == "float" || format == "double" ? TextForm::number : TextForm::any;
}

// Makes the rules of one document.
class Builder {
 public:
  explicit Builder(SchemaTables& tables) : tables_(tables) {}

  Status build(const object& document) {
    tables_.service = member<std::string_view>(document, "service").value_or("");
    if (tables_.service.empty()) return invalid_argument("a description begins with \"service\", its name");
    std::optional<array> methods = member<array>(document, "methods");
    if (!methods) return invalid_argument("a description has \"methods\", a list");
    std::optional<object> definitions = member<object>(document, "$defs");
    // First their names, for they may speak of each other.
    if (definitions)
      for (const auto& [name, schema] : *definitions) tables_.definitions.emplace(name, &tables_.rules.emplace_back());
    if (definitions)
      for (const auto& [name, schema] : *definitions) fill(*tables_.definitions.find(name)->second, schema);
    for (element each : *methods) {
      object method;
      std::string_view name;
      if (each.get(method) != simdjson::SUCCESS || method.at_key("name").get(name) != simdjson::SUCCESS)
        return invalid_argument("each of a description's methods is an object with a \"name\"");
      element request;
      bool is_told = method.at_key("request").get(request) == simdjson::SUCCESS;
      tables_.methods.push_back({std::string(name), is_told ? make(request) : &tables_.rules.emplace_back()});
    }
    return {};
  }

 private:
  const SchemaRule* make(const element& schema) {
    SchemaRule& rule = tables_.rules.emplace_back();
    fill(rule, schema);
    return &rule;
  }

  void fill(SchemaRule& rule, const element& value) {
    object schema;
    if (value.get(schema) != simdjson::SUCCESS) {
      bool is_any = true;
      if (value.get(is_any) == simdjson::SUCCESS && !is_any) rule.kinds = 0;
      return;
    }
    if (std::optional<std::string_view> name = member<std::string_view>(schema, "$ref")) {
      rule.same = definition(*name);
      return;
    }
    fill_kinds(rule, schema);
    rule.form = form_of(schema);
    if (std::optional<array> choices = member<array>(schema, "enum"))
      for (element each : *choices) rule.choices.push_back(simdjson::minify(each));
    if (std::optional<element> only = member<element>(schema, "const")) rule.choices.push_back(simdjson::minify(*only));
    for (std::string_view name : {"anyOf", "oneOf"})
      if (std::optional<array> options = member<array>(schema, name))
        for (element each : *options) rule.options.push_back(make(each));
    if (std::optional<element> item = member<element>(schema, "items")) rule.item = make(*item);
    fill_fields(rule, schema);
  }

  void fill_kinds(SchemaRule& rule, const object& schema) {
    if (std::optional<std::string_view> type = member<std::string_view>(schema, "type")) rule.kinds = kind_of(*type);
    std::optional<array> types = member<array>(schema, "type");
    if (!types) return;
    rule.kinds = 0;
    std::string_view type;
    for (element each : *types) rule.kinds |= each.get(type) == simdjson::SUCCESS ? kind_of(type) : uint8_t{kind_any};
  }

  void fill_fields(SchemaRule& rule, const object& schema) {
    if (std::optional<object> fields = member<object>(schema, "properties"))
      for (const auto& [name, field] : *fields) {
        object inner;
        bool is_alias = field.get(inner) == simdjson::SUCCESS && member<element>(inner, "x-alias-of").has_value();
        rule.by_name.push_back(static_cast<uint32_t>(rule.fields.size()));
        rule.fields.push_back({std::string(name), make(field), is_alias});
      }
    std::sort(rule.by_name.begin(), rule.by_name.end(),
              [&rule](uint32_t a, uint32_t b) { return rule.fields[a].name < rule.fields[b].name; });
    std::string_view text;
    if (std::optional<array> names = member<array>(schema, "required"))
      for (element each : *names)
        if (each.get(text) == simdjson::SUCCESS) rule.required.emplace_back(text);
    rule.ignores_case = member<bool>(schema, "x-ignore-case").value_or(false);
    std::optional<element> others = member<element>(schema, "additionalProperties");
    if (!others) return;
    bool is_open = true;
    rule.is_closed = others->get(is_open) == simdjson::SUCCESS && !is_open;
    if (!rule.is_closed) rule.others = make(*others);
  }

  const SchemaRule* definition(std::string_view reference) {
    constexpr std::string_view prefix = "#/$defs/";
    if (!reference.starts_with(prefix)) return nullptr;
    std::string_view name = reference.substr(prefix.size());
    auto found = tables_.definitions.find(name);
    if (found != tables_.definitions.end()) return found->second;
    std::vector<std::string>& missing = tables_.missing;
    if (std::find(missing.begin(), missing.end(), name) == missing.end()) missing.emplace_back(name);
    return nullptr;
  }

  SchemaTables& tables_;
};

}  // namespace

SchemaTables::SchemaTables() = default;
SchemaTables::~SchemaTables() = default;

Schema::Schema(std::unique_ptr<SchemaTables> tables) : tables_(std::move(tables)) {}
Schema::~Schema() = default;

Result<std::unique_ptr<Schema>> Schema::parse(std::string_view document) {
  simdjson::dom::parser parser;
  object whole;
  simdjson::error_code error = parser.allocate(document.size(), schema_depth_max);
  if (error == simdjson::SUCCESS) error = parser.parse(document.data(), document.size()).get(whole);
  if (error != simdjson::SUCCESS)
    return invalid_argument(std::string("the description is no JSON object: ") + simdjson::error_message(error));
  std::unique_ptr<SchemaTables> tables = std::make_unique<SchemaTables>();
  if (Status status = Builder(*tables).build(whole); !status.ok()) return status;
  return std::unique_ptr<Schema>(new Schema(std::move(tables)));
}

std::string Schema::with_definitions(std::string_view document, const std::map<std::string, std::string>& more) {
  simdjson::dom::parser parser;
  object whole;
  NEBULA_ASSERT(parser.parse(document.data(), document.size()).get(whole) == simdjson::SUCCESS);
  std::string text, definitions;
  auto add = [](std::string& to, std::string_view name, std::string_view value) {
    to.append(to.empty() ? "" : ",").append(json_string(name)).append(":").append(value);
  };
  for (const auto& [name, value] : whole) {
    object known;
    if (name != "$defs" || value.get(known) != simdjson::SUCCESS)
      add(text, name, simdjson::minify(value));
    else
      for (const auto& [each, schema] : known) add(definitions, each, simdjson::minify(schema));
  }
  for (const auto& [name, schema] : more) add(definitions, name, schema);
  if (!definitions.empty()) add(text, "$defs", "{" + definitions + "}");
  return "{" + text + "}";
}

const std::string& Schema::service() const { return tables_->service; }

std::vector<std::string> Schema::missing() const { return tables_->missing; }

std::vector<std::string> Schema::methods() const {
  std::vector<std::string> names;
  for (const SchemaTables::Method& each : tables_->methods) names.push_back(each.name);
  return names;
}

const SchemaRule* Schema::find(std::string_view method) const {
  for (const SchemaTables::Method& each : tables_->methods)
    if (each.name == method) return each.request;
  return nullptr;
}

Status Schema::check_method(std::string_view method) const {
  if (find(method) != nullptr) return {};
  std::vector<std::string> known = methods();
  std::sort(known.begin(), known.end());
  return unknown_method(service(), method, known);
}

}  // namespace nebula
