// unit/base/url_test.cc - addresses as text.
#include "base/url.h"

#include <criterion/criterion.h>

using namespace nebula;

namespace {

Url parsed(std::string_view text) {
  Result<Url> url = Url::parse(text);
  cr_assert(url.ok(), "%s", url.status().text().c_str());
  return *url;
}

std::string refusal(std::string_view text) { return std::string(Url::parse(text).status().message()); }

}  // namespace

Test(url, splits_host_and_port) {
  Url url = parsed("tcp://127.0.0.1:80");
  cr_assert_eq(url.scheme, "tcp");
  cr_assert_eq(url.host, "127.0.0.1");
  cr_assert(url.port == 80);
  cr_assert(url.path.empty());
}

Test(url, drops_the_brackets_of_an_ipv6_address_and_prints_them) {
  Url url = parsed("tcp://[::1]:0");
  cr_assert_eq(url.host, "::1");
  cr_assert(url.port == 0);
  cr_assert_eq(url.text(), "tcp://[::1]:0");
}

Test(url, has_an_authority_with_an_ipv6_address_in_brackets) {
  cr_assert_eq(parsed("tcp://[::1]:80").authority(), "[::1]:80");
  cr_assert_eq(parsed("tls://[fe80::1]").authority(), "[fe80::1]");
  cr_assert_eq(parsed("tcp://shop.test:80/a?b=c").authority(), "shop.test:80");
  cr_assert_eq(parsed("nebula://shop.Cart").authority(), "shop.Cart");
  cr_assert_eq(parsed("unix:/run/a.sock").authority(), "");
}

Test(url, takes_all_behind_the_scheme_as_path_without_slashes) {
  cr_assert_eq(parsed("unix:/run/a.sock").path, "/run/a.sock");
  cr_assert_eq(parsed("mem:price").path, "price");
  cr_assert_eq(parsed("static:a:1,b:2").path, "a:1,b:2");
  cr_assert_eq(parsed("unix:///run/a.sock").path, "/run/a.sock");
}

Test(url, finds_options) {
  Url url = parsed("host:?dir=/tmp/x&empty=&flag");
  cr_assert(url.option("dir") == "/tmp/x");
  cr_assert(url.option("empty") == "");
  cr_assert(url.option("flag") == "");
  cr_assert(not url.option("other"));
}

Test(url, carries_another_url_in_an_option) {
  Url url = parsed("fault:?inner=mem%3Ax%3Fa%3D1%26b%3D%252&seed=7");
  cr_assert(url.option("inner") == "mem:x?a=1&b=%2");
  cr_assert(parsed(url.text()) == url);
}

Test(url, prints_what_it_read) {
  for (const char* text : {"tcp://127.0.0.1:80", "unix:/run/a.sock", "mem:price", "host:?dir=/tmp/x", "static:a:1,b:2",
                           "nebula://shop.Cart", "tcp://h:1/path?a=b&c=d"})
    cr_assert_eq(parsed(text).text(), text);
}

Test(url, quotes_what_it_cannot_read) {
  cr_assert(refusal("localhost").starts_with("address \"localhost\": it must begin with a scheme"));
  cr_assert(refusal("").starts_with("address \"\""));
  cr_assert(refusal("TCP://x:1").find("scheme") != std::string::npos);
  for (const char* text : {"tcp://x:", "tcp://x:65536", "tcp://x:-1", "tcp://x:1a", "tcp://[::1", "tcp://[::1]x"})
    cr_assert_not(Url::parse(text).ok(), "%s", text);
  for (const char* text : {"a:?x=%", "a:?x=%1", "a:?x=%zz"}) cr_assert_not(Url::parse(text).ok(), "%s", text);
}

Test(url, is_written_as_what_it_will_be_read_as) {
  for (const char* text : {"i:////(:", "x:////", "x://a:b:1/", "x://:1//p", "x:/p", "x:?&a=b", "x:?a=%3F%26"}) {
    Result<Url> url = Url::parse(text);
    cr_assert(url.ok(), "%s", text);
    Result<Url> again = Url::parse(url->text());
    cr_assert(again.ok() && *again == *url, "%s became %s", text, url->text().c_str());
  }
}

Test(url, takes_brackets_around_an_address_alone) {
  for (const char* text : {"x://[[a]", "x://a]:b:1", "x://a[b"}) cr_assert_not(Url::parse(text).ok(), "%s", text);
}
