// unit/base/options_test.cc - options of a URL, by their kinds.
#include "base/options.h"

#include <criterion/criterion.h>

using namespace nebula;

namespace {

Url url(std::string_view text) { return *Url::parse(text); }

}  // namespace

Test(options, are_read_by_their_kinds) {
  Url all = url("x:?share=0.25&count=7&wait=1.5s&name=me&mode=slow");
  double share = 0;
  uint32_t count = 0;
  Duration wait;
  std::string name, mode;
  Options options(all);
  options.number("share", &share, 0, 1).count("count", &count, 0, 10).duration("wait", &wait).text("name", &name);
  options.one_of("mode", &mode, {"fast", "slow"});
  cr_assert(options.status().ok());
  cr_assert(share == 0.25 && count == 7 && wait == ms(1500) && name == "me" && mode == "slow");
}

Test(options, keep_what_they_were_where_nothing_is_said) {
  Url none = url("x:");
  uint32_t count = 3;
  Options options(none);
  options.count("count", &count, 0, 10);
  cr_assert(options.status().ok() && count == 3);
}

Test(options, refuse_what_is_out_of_bounds_or_none) {
  for (const char* text : {"x:?count=11", "x:?count=-1", "x:?count=1.5", "x:?count=", "x:?count=1x", "x:?count=nan",
                           "x:?cuont=1", "x:path?count=1", "x://host?count=1"}) {
    Url one = url(text);
    uint32_t count = 3;
    Options options(one);
    options.count("count", &count, 0, 10);
    cr_assert(options.status().code() == Code::invalid_argument, "%s", text);
  }
}

Test(options, know_units_of_time) {
  cr_assert(parse_duration("20us") == us(20) && parse_duration("3ms") == ms(3) && parse_duration("10s") == sec(10));
  cr_assert(parse_duration("2m") == sec(120) && parse_duration("1h") == sec(3600) && parse_duration("0s") == Duration{});
  for (const char* text : {"", "s", "10", "-1s", "1 s", "infs", "1e300s", "9999999999h"})
    cr_assert(!parse_duration(text), "%s", text);
}
