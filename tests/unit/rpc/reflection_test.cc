// unit/rpc/reflection_test.cc - descriptors found by what they define; grpc.reflection by its bytes.
#include "rpc/reflection.h"

#include <criterion/criterion.h>

#include <deque>

using namespace nebula;

namespace {

// protobuf's wire format: a field of bytes, and a small number.
std::string field(int number, std::string_view bytes) {
  cr_assert_lt(bytes.size(), 128u);
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())}.append(bytes);
}
std::string field(int number, int value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }

// base.proto: package base; message Base { nested enum Kind { ROUND } }, extended by 100 in shop.proto.
std::string base_file() {
  std::string kind = field(1, "Kind") + field(2, field(1, "ROUND"));
  return field(1, "base.proto") + field(2, "base") + field(4, field(1, "Base") + field(4, kind));
}
std::string shop_file() {
  return field(1, "shop.proto") + field(2, "shop.v1") + field(3, "base.proto") +
         field(4, field(1, "Order") + field(2, field(1, "id"))) + field(6, field(1, "Cart") + field(2, field(1, "Add"))) +
         field(7, field(1, "extra") + field(2, ".base.Base") + field(3, 100));
}
std::string both() { return field(1, base_file()) + field(1, shop_file()); }

std::string text(const std::vector<Bytes>& files) {
  std::string all;
  for (const Bytes& file : files) all.append(file.view());
  return all;
}

// Questions that are there from the start.
class Questions final : public Source {
 public:
  explicit Questions(std::deque<std::string> questions) : questions_(std::move(questions)) {}
  Ending& ending() override { return ending_; }

 private:
  Next take(Bytes* message) override {
    if (questions_.empty()) return Next::end;
    *message = Bytes::copy(questions_.front());
    questions_.pop_front();
    return Next::message;
  }
  std::deque<std::string> questions_;
  Ending ending_;
};

struct World {
  World() { cr_assert(descriptors.add(both()).ok()); }

  // The answer without the question that it repeats (field 2).
  std::string ask(std::string question) {
    Method method = reflection.v1();
    Context context(Time::never(), {});
    std::string answer;
    reflection.call({&method, &context, {}, std::make_unique<Questions>(std::deque{question})}, [&](Result<Response> result) {
      cr_assert(result.ok());
      Source& answers = *std::get<std::unique_ptr<Source>>(result->body);
      Bytes message;
      if (answers.next(&message) == Source::Next::end) {
        answer = answers.ending().status.text();
        return;
      }
      answer = std::string(message.view());
      cr_assert(answers.next(&message) == Source::Next::end && answers.ending().status.ok());
      std::string repeated = field(2, question);
      size_t at = answer.find(repeated);
      cr_assert_neq(at, std::string::npos, "the question is repeated");
      answer.erase(at, repeated.size());
    });
    return answer;
  }

  Router router;
  Descriptors descriptors;
  Reflection reflection{router, descriptors};
};

}  // namespace

Test(descriptors, are_found_by_every_name_that_they_define) {
  World world;
  for (const char* symbol : {"shop.v1.Order", "shop.v1.Order.id", "shop.v1.Cart", "shop.v1.Cart.Add", "shop.v1.extra"})
    cr_assert(text(world.descriptors.by_symbol(symbol)) == shop_file() + base_file(), "%s", symbol);
  for (const char* symbol : {"base.Base", "base.Base.Kind", "base.Base.ROUND"})
    cr_assert(text(world.descriptors.by_symbol(symbol)) == base_file(), "%s", symbol);
  for (const char* symbol : {"", "shop", "shop.v1", "Order", "shop.v1.order", "base.Base.Kind.ROUND"})
    cr_assert(world.descriptors.by_symbol(symbol).empty(), "%s", symbol);
}

Test(descriptors, give_an_import_once_and_none_that_is_missing) {
  Descriptors descriptors;
  cr_assert(descriptors.add(field(1, shop_file())).ok());
  cr_assert(text(descriptors.by_name("shop.proto")) == shop_file());
  cr_assert(descriptors.add(both()).ok(), "the second time is no mistake");
  cr_assert(text(descriptors.by_name("shop.proto")) == shop_file() + base_file());
}

Test(descriptors, know_the_services_that_every_server_has) {
  Descriptors descriptors;
  descriptors.add_own();
  cr_assert(descriptors.knows("grpc.health.v1.Health.Check") && descriptors.knows("grpc.health.v1.HealthCheckRequest"));
  for (std::string package : {"grpc.reflection.v1", "grpc.reflection.v1alpha"}) {
    cr_assert(descriptors.knows(package + ".ServerReflection.ServerReflectionInfo"));
    std::string type = field(3, "." + package + ".ServerReflectionResponse");
    cr_assert_neq(text(descriptors.by_symbol(package + ".ServerReflection")).find(type), std::string::npos);
  }
}

Test(descriptors, refuse_what_is_no_set) {
  Descriptors descriptors;
  cr_assert_eq(descriptors.add("\x0a\x05hel").code(), Code::invalid_argument);
  cr_assert_eq(descriptors.add(field(1, "\x0a\x05hel")).code(), Code::invalid_argument);
  cr_assert_eq(descriptors.add(field(1, base_file()) + field(1, "")).code(), Code::invalid_argument);
  cr_assert(descriptors.by_name("base.proto").empty(), "nothing of it was added");
}

Test(reflection, lists_what_the_router_serves) {
  World world;
  cr_assert(world.router.add({"/shop.v1.Cart/Add"}).ok() && world.router.add({"/hello/greet"}).ok());
  cr_assert(world.ask(field(7, "*")) == field(6, field(1, field(1, "hello")) + field(1, field(1, "shop.v1.Cart"))));
}

Test(reflection, answers_with_files) {
  World world;
  std::string base = field(4, field(1, base_file()));
  cr_assert(world.ask(field(3, "base.proto")) == base);
  cr_assert(world.ask(field(4, "base.Base")) == base);
  cr_assert(world.ask(field(5, field(1, "base.Base") + field(2, 100))).find("shop.proto") != std::string::npos);
  cr_assert(world.ask(field(6, "base.Base")) == field(5, field(1, "base.Base") + field(2, field(0, 100).substr(1))));
}

Test(reflection, says_what_it_does_not_know) {
  World world;
  auto refusal = [](int code, std::string_view why) { return field(7, field(1, code) + field(2, why)); };
  cr_assert(world.ask(field(3, "x")) == refusal(5, "no file here has the name x"));
  cr_assert(world.ask(field(4, "x.Y")) == refusal(5, "no file here has the symbol x.Y"));
  cr_assert(world.ask(field(5, field(1, "base.Base") + field(2, 7))) ==
            refusal(5, "no file here has the extension 7 of base.Base"));
  cr_assert(world.ask(field(6, "x.Y")) == refusal(5, "no file here has the message x.Y"));
  cr_assert(world.ask("") == refusal(3, "the request asks for nothing"));
}

Test(reflection, ends_at_garbage) {
  World world;
  cr_assert(world.ask("\x0a\x05hel") == "INVALID_ARGUMENT: the request is no ServerReflectionRequest");
}

Test(reflection, is_found_under_both_paths) {
  World world;
  cr_assert(world.reflection.v1().path == "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
  cr_assert(world.reflection.v1alpha().path == "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}
