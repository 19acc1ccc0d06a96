// rpc/reflection.cc - one answer for each question of the stream.
#include "rpc/reflection.h"

#include "grpc/reflection/v1/reflection.pb-c.h"

namespace nebula {

namespace {

using Question = Grpc__Reflection__V1__ServerReflectionRequest;
using Answer = Grpc__Reflection__V1__ServerReflectionResponse;

// The answer's parts, which protobuf-c wants as arrays of pointers.
struct Draft {
  Answer answer = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
  Grpc__Reflection__V1__FileDescriptorResponse files = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
  Grpc__Reflection__V1__ExtensionNumberResponse numbers = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
  Grpc__Reflection__V1__ListServiceResponse list = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
  Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
  std::vector<Bytes> bytes;
  std::vector<ProtobufCBinaryData> views;
  std::vector<int32_t> extension_numbers;
  std::vector<std::string> names;
  std::vector<Grpc__Reflection__V1__ServiceResponse> services;
  std::vector<Grpc__Reflection__V1__ServiceResponse*> service_pointers;
  std::string text;

  void fail(Code code, std::string why) {
    text = std::move(why);
    error.error_code = static_cast<int32_t>(code);
    error.error_message = text.data();
    answer.message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    answer.error_response = &error;
  }

  void give_files(std::vector<Bytes> found, std::string what) {
    if (found.empty()) return fail(Code::not_found, "no file here has " + what);
    bytes = std::move(found);
    for (const Bytes& each : bytes)
      views.push_back({each.size(), const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(each.data()))});
    files.n_file_descriptor_proto = views.size();
    files.file_descriptor_proto = views.data();
    answer.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    answer.file_descriptor_response = &files;
  }

  void give_numbers(std::vector<int32_t> found, char* type) {
    extension_numbers = std::move(found);
    numbers.base_type_name = type;
    numbers.n_extension_number = extension_numbers.size();
    numbers.extension_number = extension_numbers.data();
    answer.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    answer.all_extension_numbers_response = &numbers;
  }

  void give_services(std::vector<std::string> found) {
    names = std::move(found);
    services.assign(names.size(), GRPC__REFLECTION__V1__SERVICE_RESPONSE__INIT);
    for (size_t i = 0; i < names.size(); i++) {
      services[i].name = names[i].data();
      service_pointers.push_back(&services[i]);
    }
    list.n_service = service_pointers.size();
    list.service = service_pointers.data();
    answer.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    answer.list_services_response = &list;
  }

  Bytes pack() const {
    Block* block = Block::make(grpc__reflection__v1__server_reflection_response__get_packed_size(&answer));
    NEBULA_ASSERT(block != nullptr);
    block->set_size(grpc__reflection__v1__server_reflection_response__pack(&answer, reinterpret_cast<uint8_t*>(block->data())));
    return Bytes::adopt(block);
  }
};

}  // namespace

// Questions in, answers out.
class Reflection::Answers final : public Source {
 public:
  Answers(const Reflection& reflection, std::unique_ptr<Source> questions)
      : reflection_(reflection), questions_(std::move(questions)) {
    questions_->on_ready([this] { ready(); });
  }

  Ending& ending() override { return ending_; }

 private:
  Next take(Bytes* message) override {
    Bytes bytes;
    switch (questions_->next(&bytes)) {
      case Next::later: return Next::later;
      case Next::end: return Next::end;
      case Next::message: break;
    }
    Question* question = grpc__reflection__v1__server_reflection_request__unpack(
        nullptr, bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
    if (question == nullptr) {
      ending_.status = invalid_argument("the request is no ServerReflectionRequest");
      return Next::end;
    }
    *message = answer(question);
    grpc__reflection__v1__server_reflection_request__free_unpacked(question, nullptr);
    return Next::message;
  }

  Bytes answer(Question* question) const {
    const Descriptors& known = reflection_.descriptors_;
    Draft draft;
    draft.answer.valid_host = question->host;
    draft.answer.original_request = question;
    switch (question->message_request_case) {
      case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        draft.give_files(known.by_name(question->file_by_filename), "the name " + std::string(question->file_by_filename));
        break;
      case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL: {
        std::string symbol = question->file_containing_symbol;
        draft.give_files(known.by_symbol(symbol), "the symbol " + symbol);
        break;
      }
      case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION: {
        std::string type = question->file_containing_extension->containing_type;
        int32_t number = question->file_containing_extension->extension_number;
        draft.give_files(known.by_extension(type, number), "the extension " + std::to_string(number) + " of " + type);
        break;
      }
      case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE: {
        char* type = question->all_extension_numbers_of_type;
        if (known.knows(type))
          draft.give_numbers(known.extensions_of(type), type);
        else
          draft.fail(Code::not_found, "no file here has the message " + std::string(type));
        break;
      }
      case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        draft.give_services(reflection_.router_.services());
        break;
      default: draft.fail(Code::invalid_argument, "the request asks for nothing"); break;
    }
    return draft.pack();
  }

  const Reflection& reflection_;
  std::unique_ptr<Source> questions_;
  Ending ending_;
};

void Reflection::call(Request request, Reply reply) {
  if (request.codec == Codec::json) return reply(unimplemented("grpc.reflection speaks protobuf, not JSON"));
  Response response;
  response.body = std::make_unique<Answers>(*this, std::move(std::get<std::unique_ptr<Source>>(request.body)));
  reply(std::move(response));
}

}  // namespace nebula
