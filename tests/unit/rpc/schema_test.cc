// unit/rpc/schema_test.cc - what is wrong with a message, and the words for it.
#include "rpc/schema.h"

#include <criterion/criterion.h>

#include <chrono>
#include <cstdio>

using namespace nebula;

namespace {

std::unique_ptr<Schema> parsed(const std::string& document) {
  Result<std::unique_ptr<Schema>> schema = Schema::parse(document);
  cr_assert(schema.ok(), "%s", schema.status().text().c_str());
  return std::move(*schema);
}

// A service of one method, hello.greet, that takes this.
std::unique_ptr<Schema> taking(const std::string& request, const std::string& definitions = "{}") {
  return parsed(R"({"service":"hello","methods":[{"name":"greet","shape":"unary","request":)" + request +
                R"(}],"$defs":)" + definitions + "}");
}

std::string verdict(Schema& schema, std::string_view message) { return schema.check("greet", message).text(); }

std::string verdict(const std::string& request, std::string_view message) { return verdict(*taking(request), message); }

const std::string person = R"({"type":"object","additionalProperties":false,"required":["name"],"properties":{
  "name":{"type":"string"},"age":{"type":"integer"},"height":{"type":"number"},"alive":{"type":"boolean"},
  "address":{"$ref":"#/$defs/Address"},
  "items":{"type":"array","items":{"type":"object","properties":{"price":{"type":"number"}}}}}})";
const std::string address =
    R"({"Address":{"type":"object","additionalProperties":false,"properties":{"zip":{"type":"string"}}}})";

void expect(Schema& schema, std::string_view message, const std::string& wanted) {
  std::string said = verdict(schema, message);
  std::string whole = wanted == "OK" ? wanted : "INVALID_ARGUMENT: " + wanted;
  cr_assert(said == whole, "%.*s\n  said   %s\n  wanted %s", static_cast<int>(message.size()), message.data(),
            said.c_str(), whole.c_str());
}

}  // namespace

Test(schema, says_what_is_wrong_and_where) {
  std::unique_ptr<Schema> schema = taking(person, address);
  expect(*schema, R"({"name":"Ada","age":7,"height":1.5,"alive":true,"address":{"zip":"1"},"items":[{"price":1}]})", "OK");
  expect(*schema, R"({"nmae":"Ada"})",
         R"(hello.greet has no field "nmae" (fields: name, age, height, alive, address, items); did you mean "name"?)");
  expect(*schema, R"({"name":"Ada","age":"old"})", R"(hello.greet: field "age" must be an integer, not a string)");
  expect(*schema, R"({"name":7})", R"(hello.greet: field "name" must be a string, not a number)");
  expect(*schema, R"({"name":null})", R"(hello.greet: field "name" must be a string, not null)");
  expect(*schema, R"({"name":"","age":1.5})", R"(hello.greet: field "age" must be an integer, not 1.5)");
  expect(*schema, R"({"name":"","age":3.0})", "OK");
  expect(*schema, R"({"name":"","age":18446744073709551615})", "OK");
  expect(*schema, R"({"name":"","height":true})", R"(hello.greet: field "height" must be a number, not a boolean)");
  expect(*schema, R"({"name":"","alive":0})", R"(hello.greet: field "alive" must be a boolean, not a number)");
  expect(*schema, R"({"name":"","address":[]})", R"(hello.greet: field "address" must be an object, not a list)");
  expect(*schema, R"({"name":"","address":{"zip":{}}})", R"(hello.greet: field "address.zip" must be a string, not an object)");
  expect(*schema, R"({"name":"","address":{"zpi":"1"}})",
         R"(hello.greet: field "address" has no field "zpi" (fields: zip); did you mean "zip"?)");
  expect(*schema, R"({"name":"","items":[{},{},{},{"price":"1"}]})",
         R"(hello.greet: field "items[3].price" must be a number, not a string)");
  expect(*schema, "{}", R"(hello.greet: field "name" is missing)");
  expect(*schema, "[1]", "hello.greet: the message must be an object, not a list");
}

Test(schema, knows_its_methods) {
  std::unique_ptr<Schema> schema = parsed(R"({"service":"hello","methods":[{"name":"greet"},{"name":"bye"}]})");
  cr_assert(schema->service() == "hello" && schema->methods() == std::vector<std::string>({"greet", "bye"}));
  cr_assert(schema->check_method("greet").ok());
  std::string said = schema->check_method("gret").text();
  cr_assert(said == R"(UNIMPLEMENTED: hello has no method "gret" (methods: bye, greet); did you mean "greet"?)", "%s",
            said.c_str());
  cr_assert(schema->check("gret", "{}").text() == said);
  cr_assert(schema->check("bye", "[1,2]").ok(), "of a method without a request nothing is known");
}

Test(schema, knows_choices_and_alternatives) {
  std::string color = R"({"type":"object","properties":{"v":{"enum":["red",1]}}})";
  cr_assert(verdict(color, R"({"v":"red"})") == "OK" && verdict(color, R"({"v":1})") == "OK");
  std::string said = verdict(color, R"({"v":"blue"})");
  cr_assert(said == R"(INVALID_ARGUMENT: hello.greet: field "v" must be "red" or 1, not "blue")", "%s", said.c_str());

  std::unique_ptr<Schema> optional = taking(R"({"type":"object","properties":{"v":{"anyOf":[{"$ref":"#/$defs/Address"},
    {"type":"null"}]},"w":{"anyOf":[{"type":"integer"},{"type":"string"}]},"x":{"type":["string","null"]}}})", address);
  expect(*optional, R"({"v":null,"w":"a","x":null})", "OK");
  expect(*optional, R"({"v":{"zip":1}})", R"(hello.greet: field "v.zip" must be a string, not a number)");
  expect(*optional, R"({"v":7})", R"(hello.greet: field "v" must be an object or null, not a number)");
  expect(*optional, R"({"w":[]})", R"(hello.greet: field "w" must be an integer or a string, not a list)");
  expect(*optional, R"({"x":1})", R"(hello.greet: field "x" must be a string, not a number)");
}

Test(schema, knows_maps_and_text_that_stands_for_something) {
  std::unique_ptr<Schema> schema = taking(R"({"type":"object","properties":{
    "map":{"type":"object","additionalProperties":{"type":"integer"}},
    "raw":{"type":"string","contentEncoding":"base64"},
    "big":{"type":["integer","string","null"],"format":"int64"},"real":{"type":["number","string","null"],"format":"double"},
    "item_count":{"type":"integer"},"itemCount":{"type":"integer","x-alias-of":"item_count"}}})");
  expect(*schema, R"({"map":{"a":1},"raw":"-_8=","big":"-9007199254740993","real":"NaN","itemCount":1})", "OK");
  expect(*schema, R"({"map":{"a":"1"}})", R"(hello.greet: field "map.a" must be an integer, not a string)");
  expect(*schema, R"({"raw":"a"})", R"(hello.greet: field "raw" must be base64, not "a")");
  expect(*schema, R"({"big":"1x"})", R"(hello.greet: field "big" must be an integer, not "1x")");
  expect(*schema, R"({"real":"fast"})", R"(hello.greet: field "real" must be a number, not "fast")");
  expect(*schema, R"({"real":[]})", R"(hello.greet: field "real" must be a number, not a list)");
}

Test(schema, takes_names_in_whatever_case_where_told) {
  std::unique_ptr<Schema> schema = taking(
      R"({"type":"object","additionalProperties":false,"x-ignore-case":true,"properties":{"Name":{"type":"string"}}})");
  expect(*schema, R"({"name":"a"})", "OK");
  expect(*schema, R"({"nAME":1})", R"(hello.greet: field "nAME" must be a string, not a number)");
  expect(*schema, R"({"nam":1})", R"(hello.greet has no field "nam" (fields: Name); did you mean "Name"?)");
}

Test(schema, says_nothing_of_what_it_does_not_know) {
  for (const char* request : {"true", "{}", R"({"type":"thing"})", R"({"$ref":"elsewhere.json"})", R"({"pattern":"a"})"})
    for (const char* message : {"{}", "[]", "1", "\"x\""}) cr_assert(verdict(request, message) == "OK", "%s", request);
  cr_assert(verdict(person, "") == "OK", "no JSON at all is for the server to take or not");
  // Python's reader takes these; simdjson does not.
  cr_assert(verdict("{}", "123456789012345678901234567890") == "OK");
  cr_assert(verdict("{}", R"("\ud800")") == "OK");
  cr_assert(verdict(R"({"type":"string"})", std::string(200, '[') + std::string(200, ']')) == "OK", "too deep to judge");
  cr_assert(verdict("{}", R"({"a":)").starts_with("INVALID_ARGUMENT: hello.greet: malformed JSON: "));
}

Test(schema, shows_little_of_a_long_value) {
  std::string said = verdict(R"({"enum":["a"]})", "\"" + std::string(55, 'x') + "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\"");
  cr_assert(said == "INVALID_ARGUMENT: hello.greet: the message must be \"a\", not \"" + std::string(55, 'x') + "...", "%s",
            said.c_str());
}

Test(schema, follows_definitions_that_contain_themselves) {
  std::unique_ptr<Schema> schema = taking(R"({"$ref":"#/$defs/Tree"})",
      R"({"Tree":{"type":"object","properties":{"left":{"$ref":"#/$defs/Tree"},"value":{"type":"integer"}}}})");
  expect(*schema, R"({"left":{"left":{"value":1}}})", "OK");
  expect(*schema, R"({"left":{"left":{"value":""}}})", R"(hello.greet: field "left.left.value" must be an integer, not a string)");
}

Test(schema, is_not_led_astray_by_a_hostile_description) {
  // Names for each other; alternatives that are themselves; and what would take 2^100 steps.
  cr_assert(verdict(*taking(R"({"$ref":"#/$defs/A"})", R"({"A":{"$ref":"#/$defs/B"},"B":{"$ref":"#/$defs/A"}})"), "1") == "OK");
  verdict(*taking(R"({"$ref":"#/$defs/A"})", R"({"A":{"anyOf":[{"$ref":"#/$defs/A"},{"$ref":"#/$defs/A"}]}})"), "1");
  std::string deep = std::string(100, '[') + "1" + std::string(100, ']');
  verdict(*taking(R"({"$ref":"#/$defs/A"})",
                  R"({"A":{"anyOf":[{"type":"array","items":{"$ref":"#/$defs/A"}},{"type":["array"],"items":{"$ref":"#/$defs/A"}}]}})"),
          deep);
  for (const char* document : {"", "[]", "{}", "{\"service\":1}", R"({"service":"a"})", R"({"service":"a","methods":{}})",
                               R"({"service":"a","methods":[1]})", R"({"service":"a","methods":[{}]})"})
    cr_assert(Schema::parse(document).status().code() == Code::invalid_argument, "%s", document);
}

Test(schema, names_the_definitions_that_it_lacks) {
  std::string document = R"({"service":"a","methods":[{"name":"b","request":{"$ref":"#/$defs/x.Y"}}],"$defs":{"Z":{"items":{"$ref":"#/$defs/x.Y"}}}})";
  cr_assert(parsed(document)->missing() == std::vector<std::string>{"x.Y"});
  std::string whole = Schema::with_definitions(document, {{"x.Y", R"({"type":"integer"})"}});
  std::unique_ptr<Schema> schema = parsed(whole);
  cr_assert(schema->missing().empty());
  cr_assert(schema->check("b", "[]").text() == "INVALID_ARGUMENT: a.b: the message must be an integer, not a list");
}

// A promise of docs/description.md: a few microseconds. The bound is for sanitizers and crowded machines.
Test(schema, is_quick) {
  std::unique_ptr<Schema> schema = taking(person, address);
  constexpr std::string_view message = R"({"name":"Ada","age":7,"address":{"zip":"1"},"items":[{"price":1},{"price":2.5}]})";
  constexpr int count = 2000;
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < count; i++) cr_assert(schema->check("greet", message).ok());
  double each_us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / count;
  std::printf("schema: a check of %zu bytes takes %.2f us\n", message.size(), each_us);
  cr_assert_lt(each_us, 200.0);
}
