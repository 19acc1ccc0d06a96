// unit/rpc/description_test.cc - documents of the program and of protobuf's files, and nebula.v1.Description by its bytes.
#include "rpc/description.h"

#include <criterion/criterion.h>

#include <optional>

#include "base/hash.h"
#include "rpc/schema.h"

using namespace nebula;

namespace {

// protobuf's wire format: a field of bytes, and a number.
std::string field(int number, std::string_view bytes) {
  std::string out;
  auto varint = [&out](size_t value) {
    for (; value > 127; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
    out.push_back(static_cast<char>(value));
  };
  varint(static_cast<size_t>(number) << 3 | 2);
  varint(bytes.size());
  return out.append(bytes);
}
std::string field(int number, int value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }

constexpr int optional = 1, repeated = 3;
constexpr int type_double = 1, type_int64 = 3, type_bool = 8, type_string = 9, type_message = 11, type_bytes = 12, type_enum = 14;

std::string member(std::string_view name, int label, int type, std::string_view type_name = "") {
  std::string text = field(1, name) + field(3, 2) + field(4, label) + field(5, type);
  return type_name.empty() ? text : text + field(6, type_name);
}

// shop.v1: an Order of each kind of field, and a Cart that takes it; once as a stream.
std::string shop_file() {
  std::string prices = field(1, "PricesEntry") + field(2, field(1, "key") + field(3, 1) + field(4, optional) + field(5, type_string)) +
                       field(2, member("value", optional, type_double)) + field(7, field(7, 1));
  std::string order = field(1, "Order");
  for (const std::string& each :
       {member("item_count", optional, type_int64), member("name", optional, type_string), member("gift", optional, type_bool),
        member("raw", optional, type_bytes), member("tags", repeated, type_string), member("kind", optional, type_enum, ".shop.v1.Kind"),
        member("prices", repeated, type_message, ".shop.v1.Order.PricesEntry"), member("parent", optional, type_message, ".shop.v1.Order"),
        member("at", optional, type_message, ".google.protobuf.Timestamp"), member("free", optional, type_message, ".google.protobuf.Struct"),
        member("limit", optional, type_message, ".google.protobuf.Int32Value"), member("odd", optional, type_message, ".other.Unknown")})
    order += field(2, each);
  order += field(3, prices);
  std::string kind = field(1, "Kind") + field(2, field(1, "BOOK")) + field(2, field(1, "TEA"));
  auto method = [](std::string_view name, bool is_stream) {
    return field(2, field(1, name) + field(2, ".shop.v1.Order") + field(3, ".google.protobuf.Empty") +
                        (is_stream ? field(5, 1) : std::string()));
  };
  return field(1, "shop.proto") + field(2, "shop.v1") + field(4, order) + field(5, kind) +
         field(6, field(1, "Cart") + method("Add", false) + method("AddAll", true) + method("Unserved", false));
}

Router router_of(std::initializer_list<const char*> paths) {
  Router router;
  for (const char* path : paths) cr_assert(router.add(Method{path}).ok());
  return router;
}

std::string document_of(const Descriptions& descriptions, std::string_view service) {
  const Descriptions::Document* document = descriptions.find(service);
  return document != nullptr ? document->text : "";
}

struct Shop {
  Shop() {
    cr_assert(descriptors.add(field(1, shop_file())).ok());
    Status status = descriptions.complete(router_of({"/shop.v1.Cart/Add", "/shop.v1.Cart/AddAll", "/hello/greet"}), descriptors);
    cr_assert(status.ok(), "%s", status.text().c_str());
    schema = std::move(*Schema::parse(document_of(descriptions, "shop.v1.Cart")));
  }

  std::string check(std::string_view message) {
    std::string said = schema->check("Add", message).text();
    return said.starts_with("INVALID_ARGUMENT: shop.v1.Cart.Add") ? said.substr(34) : said;
  }

  Descriptors descriptors;
  Descriptions descriptions;
  std::unique_ptr<Schema> schema;
};

void expect(const std::string& said, const std::string& wanted) { cr_assert(said == wanted, "said %s\nwanted %s", said.c_str(), wanted.c_str()); }

}  // namespace

Test(description, of_protobuf_takes_what_its_json_mapping_takes) {
  Shop shop;
  for (const char* message :
       {"{}", R"({"itemCount":1})", R"({"item_count":"9007199254740993"})", R"({"name":null,"gift":true,"raw":"AA==","tags":["a"]})",
        R"({"kind":"TEA"})", R"({"kind":1})", R"({"kind":null})", R"({"prices":{"a":1.5,"b":"NaN"}})", R"({"parent":{"parent":{"name":"x"}}})",
        R"({"parent":null,"at":"2026-11-21T00:00:00Z","free":{"a":[1]},"limit":7,"odd":{"what":"ever"}})", R"({"limit":null})"})
    expect(shop.check(message), "OK");
}

Test(description, of_protobuf_names_the_field) {
  Shop shop;
  expect(shop.check(R"({"itemcont":1})"),
         R"( has no field "itemcont" (fields: itemCount, name, gift, raw, tags, kind, prices, parent, at, free, limit, odd); did you mean "itemCount"?)");
  expect(shop.check(R"({"itemCount":"x"})"), R"(: field "itemCount" must be an integer, not "x")");
  expect(shop.check(R"({"gift":"yes"})"), R"(: field "gift" must be a boolean, not a string)");
  expect(shop.check(R"({"tags":"a"})"), R"(: field "tags" must be a list, not a string)");
  expect(shop.check(R"({"tags":[1]})"), R"(: field "tags[0]" must be a string, not a number)");
  expect(shop.check(R"({"kind":"COFFEE"})"), R"(: field "kind" must be "BOOK" or "TEA" or an integer or null, not "COFFEE")");
  expect(shop.check(R"({"prices":{"a":true}})"), R"(: field "prices.a" must be a number, not a boolean)");
  expect(shop.check(R"({"parent":{"name":1}})"), R"(: field "parent.name" must be a string, not a number)");
  expect(shop.check(R"({"at":1})"), R"(: field "at" must be a string or null, not a number)");
  expect(shop.check(R"({"limit":[]})"), R"(: field "limit" must be an integer or null, not a list)");
}

Test(description, has_the_methods_that_are_served) {
  Shop shop;
  cr_assert(shop.schema->methods() == std::vector<std::string>({"Add", "AddAll"}));
  std::string document = document_of(shop.descriptions, "shop.v1.Cart");
  cr_assert_neq(document.find(R"("name":"AddAll","shape":"client_stream")"), std::string::npos, "%s", document.c_str());
  cr_assert(document_of(shop.descriptions, "hello").empty(), "nobody has described it");
}

Test(description, of_the_program_may_name_messages_of_protobuf) {
  Descriptors descriptors;
  cr_assert(descriptors.add(field(1, shop_file())).ok());
  Descriptions descriptions;
  cr_assert(descriptions.add("shop", R"({"service":"shop","methods":[{"name":"buy","request":{"$ref":"#/$defs/shop.v1.Order"}}]})").ok());
  cr_assert(descriptions.complete(router_of({"/shop/buy"}), descriptors).ok());
  std::unique_ptr<Schema> schema = std::move(*Schema::parse(document_of(descriptions, "shop")));
  expect(schema->check("buy", R"({"name":1})").text(), R"(INVALID_ARGUMENT: shop.buy: field "name" must be a string, not a number)");
}

Test(description, must_be_that_of_its_service) {
  Descriptions descriptions;
  cr_assert_eq(descriptions.add("a", "{}").code(), Code::invalid_argument);
  cr_assert_eq(descriptions.add("a", R"({"service":"b","methods":[]})").code(), Code::invalid_argument);
  cr_assert(descriptions.add("a", R"({"service":"a","methods":[{"name":"b"}]})").ok());
  cr_assert_eq(descriptions.add("a", R"({"service":"a","methods":[{"name":"b"}]})").code(), Code::already_exists);
  cr_assert_eq(descriptions.complete(router_of({"/a/b", "/a/c"}), {}).code(), Code::invalid_argument);
  cr_assert(descriptions.complete(router_of({"/a/b"}), {}).ok());
}

Test(description, is_told_by_name_and_digest) {
  Shop shop;
  Description service(shop.descriptions);
  auto ask = [&](const std::string& question, Codec codec = Codec::proto) {
    Method method = service.get_method();
    Context context(Time::never(), {});
    std::string said;
    service.call({&method, &context, {}, Bytes::copy(question), codec}, [&](Result<Response> result) {
      said = result.ok() ? std::string(std::get<Bytes>(result->body).view()) : result.status().text();
    });
    return said;
  };
  const Descriptions::Document& document = *shop.descriptions.find("shop.v1.Cart");
  std::string digest = hex64(document.digest);
  cr_assert_eq(digest.size(), 16u);
  expect(ask(field(1, "shop.v1.Cart")), field(1, digest) + field(2, document.text));
  expect(ask(field(1, "shop.v1.Cart") + field(2, digest)), field(1, digest));
  expect(ask(field(1, "shop.v1.Cart") + field(2, "another")), field(1, digest) + field(2, document.text));
  expect(ask(field(1, "hello")), "NOT_FOUND: no description of \"hello\" here");
  expect(ask("\xff"), "INVALID_ARGUMENT: the request is no nebula.v1.GetRequest");
  expect(ask("{}", Codec::json), "UNIMPLEMENTED: nebula.v1.Description speaks protobuf, not JSON");
}
