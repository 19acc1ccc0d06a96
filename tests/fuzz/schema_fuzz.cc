// fuzz/schema_fuzz.cc - descriptions as a strange server may tell them, and messages beside them.
#include <cstdlib>

#include "input.h"
#include "rpc/schema.h"

using namespace nebula;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  std::string_view message = input.take(input.byte());
  std::string_view document = input.rest();
  // As a whole, and as what one method takes: few mutations find their way through the outer form.
  std::string inner = R"({"service":"s","methods":[{"name":"m","request":{"$ref":"#/$defs/A"}}],"$defs":{"A":)" +
                      std::string(document) + "}}";
  for (std::string_view each : {document, std::string_view(inner)}) {
    Result<std::unique_ptr<Schema>> schema = Schema::parse(each);
    if (!schema.ok()) continue;
    static_cast<void>((*schema)->check("m", message));
    // Made whole, it can be read again.
    std::string whole = Schema::with_definitions(each, {{"B", "true"}});
    if (!Schema::parse(whole).ok()) abort();
  }
  return 0;
}
