// unit/rpc/router_test.cc - paths that are there, paths that merely look so.
#include "rpc/router.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

using namespace nebula;

namespace {

Router with(const std::vector<std::string>& paths) {
  Router router;
  for (const std::string& path : paths) cr_assert(router.add({path}).ok());
  return router;
}

}  // namespace

Test(router, finds_a_method_by_its_exact_path) {
  Router router;
  cr_assert(router.add({"/shop.v1.Cart/Add", true}).ok());
  cr_assert(router.add({"/shop.v1.Cart/Remove"}).ok());
  const Method* method = router.find("/shop.v1.Cart/Add");
  cr_assert(method != nullptr && method->path == "/shop.v1.Cart/Add" && method->idempotent);
  for (std::string_view path : {"/shop.v1.Cart/add", "/shop.v1.Cart/Add/", "shop.v1.Cart/Add", "/shop.v1.Cart", "",
                                "/shop.v1.Cart/Ad", "/shop.v1.Cart/Add?x=1", "//shop.v1.Cart/Add"})
    cr_assert_eq(router.find(path), nullptr, "%s was found", std::string(path).c_str());
}

Test(router, keeps_a_method_where_it_is_when_more_are_added) {
  Router router;
  cr_assert(router.add({"/a/b"}).ok());
  const Method* method = router.find("/a/b");
  for (int i = 0; i < 1000; i++) cr_assert(router.add({"/a/m" + std::to_string(i)}).ok());
  cr_assert_eq(router.find("/a/b"), method);
}

Test(router, refuses_a_path_that_is_not_service_and_method) {
  Router router;
  for (std::string path : {"", "/", "a/b", "/a", "/a/", "//b", "/a/b/", "/a/b/c", "/a//b"}) {
    Status status = router.add({path});
    cr_assert_eq(status.code(), Code::invalid_argument, "%s was taken", path.c_str());
    cr_assert(status.message() == "method path \"" + path + "\" must look like /service/method");
  }
}

Test(router, refuses_a_second_method_of_one_path) {
  Router router = with({"/a/b"});
  Status status = router.add({"/a/b"});
  cr_assert_eq(status.code(), Code::already_exists);
  cr_assert(status.message() == "method /a/b is there twice");
}

Test(router, says_which_methods_a_service_has) {
  Router router = with({"/hello/greet", "/hello/bye", "/hellos/other", "/hell/no"});
  Status status = router.unknown("/hello/gret");
  cr_assert_eq(status.code(), Code::unimplemented);
  cr_assert(status.message() == "hello has no method \"gret\" (methods: bye, greet); did you mean \"greet\"?",
            "%s", status.text().c_str());
}

Test(router, says_that_a_service_is_not_here) {
  Status status = with({"/hello/greet"}).unknown("/clock/now");
  cr_assert_eq(status.code(), Code::unimplemented);
  cr_assert(status.message() == "no service \"clock\" here");
}

Test(router, says_that_a_path_is_none) {
  Status status = with({"/hello/greet"}).unknown("/index.html");
  cr_assert_eq(status.code(), Code::unimplemented);
  cr_assert(status.message() == "path \"/index.html\" is not /service/method");
}

Test(router, lists_its_services_sorted_and_once) {
  cr_assert(with({"/b/1", "/a/1", "/b/2"}).services() == std::vector<std::string>({"a", "b"}));
  cr_assert(Router().services().empty());
}
