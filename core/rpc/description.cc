// rpc/description.cc - documents from the program and from protobuf, made whole once and told by their digests.
#include "rpc/description.h"

#include <algorithm>

#include "base/hash.h"
#include "nebula/v1/description.pb-c.h"
#include "rpc/proto_schema.h"
#include "rpc/schema.h"

namespace nebula {

namespace {

// Messages of protobuf that it refers to, and those that they refer to.
Result<std::string> with_messages(std::string document, ProtoSchemas& messages) {
  while (true) {
    TRY(std::unique_ptr<Schema> schema, Schema::parse(document));
    std::map<std::string, std::string> more;
    for (const std::string& name : schema->missing()) {
      std::string definition = messages.definition(name);
      more.emplace(name, definition.empty() ? "true" : std::move(definition));
    }
    if (more.empty()) return document;
    document = Schema::with_definitions(document, more);
  }
}

}  // namespace

Status Descriptions::add(std::string_view service, std::string_view document) {
  TRY(std::unique_ptr<Schema> schema, Schema::parse(document));
  if (schema->service() != service)
    return invalid_argument("this describes \"" + schema->service() + "\", not \"" + std::string(service) + "\"");
  if (!documents_.emplace(service, Document{std::string(document), {}}).second)
    return already_exists("\"" + std::string(service) + "\" is described twice");
  return {};
}

Status Descriptions::complete(const Router& router, const Descriptors& descriptors) {
  ProtoSchemas messages(descriptors);
  for (auto& [service, document] : documents_) {
    TRY(std::unique_ptr<Schema> schema, Schema::parse(document.text));
    std::vector<std::string> described = schema->methods();
    std::sort(described.begin(), described.end());
    if (described != router.methods_of(service))
      return invalid_argument("the methods that \"" + service + "\" is said to have are not those that it has");
    TRY(std::string text, with_messages(std::move(document.text), messages));
    document = {text, hash64(text)};
  }
  for (const std::string& service : router.services()) {
    if (documents_.contains(service)) continue;
    std::string text = messages.service(service, router.methods_of(service));
    if (text.empty()) continue;
    // Files that make no description are good enough for reflection.
    if (Result<std::string> whole = with_messages(std::move(text), messages); whole.ok())
      documents_.emplace(service, Document{*whole, hash64(*whole)});
  }
  return {};
}

const Descriptions::Document* Descriptions::find(std::string_view service) const {
  auto found = documents_.find(service);
  return found == documents_.end() ? nullptr : &found->second;
}

void Description::call(Request request, Reply reply) {
  if (request.codec == Codec::json) return reply(unimplemented("nebula.v1.Description speaks protobuf, not JSON"));
  const Bytes& message = std::get<Bytes>(request.body);
  Nebula__V1__GetRequest* question =
      nebula__v1__get_request__unpack(nullptr, message.size(), reinterpret_cast<const uint8_t*>(message.data()));
  if (question == nullptr) return reply(invalid_argument("the request is no nebula.v1.GetRequest"));
  std::string service = question->service, known = question->digest;
  nebula__v1__get_request__free_unpacked(question, nullptr);
  const Descriptions::Document* document = descriptions_.find(service);
  if (document == nullptr) return reply(Status(Code::not_found, "no description of \"" + service + "\" here"));

  Nebula__V1__GetResponse answer = NEBULA__V1__GET_RESPONSE__INIT;
  std::string digest = hex64(document->digest);
  answer.digest = const_cast<char*>(digest.c_str());
  if (known != digest) answer.document = const_cast<char*>(document->text.c_str());
  Block* block = Block::make(nebula__v1__get_response__get_packed_size(&answer));
  NEBULA_ASSERT(block != nullptr);
  block->set_size(nebula__v1__get_response__pack(&answer, reinterpret_cast<uint8_t*>(block->data())));
  Response response;
  response.body = Bytes::adopt(block);
  reply(std::move(response));
}

}  // namespace nebula
