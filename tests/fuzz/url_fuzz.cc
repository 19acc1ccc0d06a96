// fuzz/url_fuzz.cc - addresses: what is understood is written and understood again, the same.
#include <cstdlib>

#include "base/url.h"
#include "input.h"

using namespace nebula;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Result<Url> url = Url::parse(fuzz::Input(data, size).rest());
  if (!url.ok()) return 0;
  Result<Url> again = Url::parse(url->text());
  if (!again.ok() || !(*again == *url)) abort();
  return 0;
}
