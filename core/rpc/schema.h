// rpc/schema.h - what the methods of a service take, read from its description; and whether a message is that.
//
// A description is one JSON document:
//
//   {"service": "hello",
//    "methods": [{"name": "greet", "shape": "unary", "request": <JSON Schema>, "response": <JSON Schema>}],
//    "$defs": {"Address": <JSON Schema>}}
//
// Of JSON Schema this knows type, properties, required, additionalProperties, items, enum, const, anyOf, oneOf, $ref into
// $defs, contentEncoding base64, and the formats int32, int64, uint32, uint64, float, double, by which a string may stand
// for a number. What else stands there is not looked at: a check never refuses what it does not understand. Null in a list
// of types stands for a field left out, so no words are made of it. A property with "x-alias-of" is another name of a
// field; with "x-ignore-case": true an object's names are those of its fields in whatever case.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace nebula {

struct SchemaRule;
struct SchemaTables;

class Schema {
 public:
  // invalid_argument: it is none, and why.
  static Result<std::unique_ptr<Schema>> parse(std::string_view document);
  ~Schema();

  // The document with so many more in its $defs, by their names. It has been parsed before.
  static std::string with_definitions(std::string_view document, const std::map<std::string, std::string>& more);

  const std::string& service() const;
  std::vector<std::string> methods() const;   // as the document has them
  std::vector<std::string> missing() const;   // names that $ref asks for and $defs has not, each once

  // unimplemented, with the words of a server: there is no such method.
  Status check_method(std::string_view method) const;

  // One request of a method. invalid_argument: the message names the field. What takes more than its share of time to
  // check passes, as does what only some readers of JSON refuse: the server is the judge of that.
  Status check(std::string_view method, std::string_view json);

 private:
  explicit Schema(std::unique_ptr<SchemaTables> tables);

  const SchemaRule* find(std::string_view method) const;

  std::unique_ptr<SchemaTables> tables_;
};

}  // namespace nebula
