// rpc/schema_rules.h - a description as the checker wants it: each JSON Schema is a rule. For schema*.cc alone.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rpc/schema.h"

namespace simdjson::dom {
class parser;
}

namespace nebula {

// Kinds of JSON values, as bits.
enum Kind : uint8_t {
  kind_integer = 1,
  kind_number = 2,
  kind_string = 4,
  kind_boolean = 8,
  kind_list = 16,
  kind_object = 32,
  kind_null = 64,
  kind_any = 127,
};

// What a string has to be, where it may not be any.
enum class TextForm : uint8_t { any, base64, integer, number };

struct SchemaRule {
  struct Field {
    std::string name;
    const SchemaRule* rule;
    bool is_alias;
  };

  uint8_t kinds = kind_any;
  TextForm form = TextForm::any;
  bool is_closed = false;               // an object has no other fields
  bool ignores_case = false;            // of their names
  const SchemaRule* same = nullptr;     // $ref
  const SchemaRule* item = nullptr;     // of a list; null: any
  const SchemaRule* others = nullptr;   // other fields of an object; null: any
  std::vector<Field> fields;            // in the document's order
  std::vector<uint32_t> by_name;        // indexes of them, sorted
  std::vector<std::string> required;
  std::vector<std::string> choices;     // enum and const, as JSON
  std::vector<const SchemaRule*> options;  // anyOf
};

struct SchemaTables {
  struct Method {
    std::string name;
    const SchemaRule* request;
  };

  SchemaTables();
  ~SchemaTables();

  std::string service;
  std::vector<Method> methods;
  std::deque<SchemaRule> rules;  // a deque: they point to each other
  std::map<std::string, SchemaRule*, std::less<>> definitions;
  std::vector<std::string> missing;
  std::unique_ptr<simdjson::dom::parser> parser;  // of small messages
};

// As deep as a message is looked into; beyond it, nothing is said of it.
inline constexpr size_t schema_depth_max = 128;

}  // namespace nebula
