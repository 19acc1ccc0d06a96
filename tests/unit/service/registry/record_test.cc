// unit/service/registry/record_test.cc - records are read as they were written, and tolerantly.
#include "service/registry/record.h"

#include <criterion/criterion.h>

#include "base/limits.h"

using namespace nebula;

namespace {

constexpr char minimal[] = "nebula: 1\nservice: hello\ninstance: 7f\nurl: tcp://a:1\n";

}  // namespace

Test(registry_record, is_read_as_it_was_written) {
  Record record{
      "shop.Cart", {"7f3a9c01", {*Url::parse("unix:/run/x.sock"), *Url::parse("tcp://[::1]:80")}, 7}, "90d2.alive"};
  record.alive = "90d2c1f4a5b6e7f8.alive";
  record.endpoint.draining = true;
  record.endpoint.zone = "eu-1";
  record.endpoint.group = "canary";
  record.endpoint.version = "2.1 (beta)";
  record.endpoint.labels = {{"tier", "gold"}, {"note", "a=b: c"}, {"empty", ""}};
  record.endpoint.started = 1'763'786'400;
  record.endpoint.unwell = true;
  record.endpoint.description = 0x0f86d081884c7d65;
  Result<Record> read = Record::parse(record.text());
  cr_assert(read.ok());
  cr_assert(read->endpoint == record.endpoint);
  cr_assert(read->service == record.service && read->alive == record.alive);
  cr_assert(read->file_name() == "shop.Cart.7f3a9c01.record");
}

Test(registry_record, says_nothing_of_what_is_as_ever) {
  Record record{"hello", {"7f", {*Url::parse("tcp://a:1")}}, ""};
  std::string text = record.text();
  for (const char* name : {"draining", "health", "description", "zone", "started"})
    cr_assert(text.find(name) == std::string::npos, "%s", name);
  record.endpoint.unwell = true;
  record.endpoint.description = 0xf;
  text = record.text();
  cr_assert(text.find("\nhealth: not_serving\n") != std::string::npos);
  cr_assert(text.find("\ndescription: 000000000000000f\n") != std::string::npos);
}

Test(registry_record, passes_over_names_it_does_not_know) {
  Result<Record> read = Record::parse(std::string(minimal) + "colour: green\nno colon here\n\nurl: what is this\n");
  cr_assert(read.ok());
  cr_assert_eq(read->endpoint.urls.size(), 1u);
  cr_assert_eq(read->endpoint.weight, 1u);
}

Test(registry_record, is_not_written_where_it_would_be_read_otherwise) {
  Record record{"hello", {"7f", {*Url::parse("tcp://a:1")}}, ""};
  cr_assert(record.checked_text().ok());
  for (std::string* text : {&record.endpoint.zone, &record.endpoint.group, &record.endpoint.version,
                            &record.endpoint.labels["tier"], &record.endpoint.urls[0].host}) {
    std::string before = std::exchange(*text, "x\nweight: 9");
    cr_assert_eq(record.checked_text().status().code(), Code::invalid_argument);
    *text = before;
  }
  cr_assert(record.checked_text().ok());
  record.endpoint.labels["tier"] = std::string(limits::record_bytes_max, 'x');
  cr_assert_eq(record.checked_text().status().code(), Code::invalid_argument);
}

Test(registry_record, reads_nonsense_in_what_is_added_as_nothing) {
  Result<Record> read = Record::parse(std::string(minimal) + "started: soon\nlabel: tier\nlabel: =\nlabel: \n" +
                                      "health: fine\ndescription: none\n");
  cr_assert(read.ok() && read->endpoint.started == 0);
  cr_assert(!read->endpoint.unwell && read->endpoint.description == 0);
  cr_assert(read->endpoint.labels == (Labels{{"tier", ""}, {"", ""}}));
}

Test(registry_record, needs_version_service_instance_and_address) {
  for (const char* line : {"nebula: 1\n", "service: hello\n", "instance: 7f\n", "url: tcp://a:1\n"}) {
    std::string text = minimal;
    text.erase(text.find(line), std::string(line).size());
    cr_assert(!Record::parse(text).ok(), "without %s", line);
  }
  cr_assert(!Record::parse("").ok());
  cr_assert(!Record::parse(std::string("nebula: 2\n") + (minimal + 10)).ok());
}

Test(registry_record, takes_no_path_for_the_name_of_an_alive_file) {
  for (const char* name : {"../x.alive", "a/b.alive", ".alive", "x.record"}) {
    Result<Record> read = Record::parse(std::string(minimal) + "alive: " + name + "\n");
    cr_assert(read.ok() && read->alive.empty(), "%s", name);
  }
}

Test(registry_record, lets_no_dot_into_an_instance_id) {
  cr_assert(check_instance_id("7f3a_9-c").ok());
  for (const char* id : {"", "a.b", "a/b", "123456789012345678901234567890123"})
    cr_assert(!check_instance_id(id).ok(), "%s", id);
}
