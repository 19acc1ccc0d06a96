// capi/tls.cc - nebula_tls: becomes options of an address, so that core knows one way to say it.
#include "border.h"
#include "transport/tls_context.h"

using namespace nebula;

namespace nebula {

namespace {

std::string text_of(const char* text) { return text != nullptr ? text : ""; }

}  // namespace

int32_t apply_tls(const nebula_tls* given, TlsSide side, Url* url, nebula_error* error) {
  bool is_name = side == TlsSide::client && url->scheme == "nebula";
  if (given != nullptr) {
    nebula_tls known;
    if (!read_options(given, &known)) return fail(error, NEBULA_E_VERSION, options_message);
    if (known.flags != 0) return fail(error, NEBULA_E_ARGUMENT, "tls: flags must be 0 in this version");
    if (url->scheme != "tls" && !is_name)
      return fail(error, NEBULA_E_ARGUMENT, "tls: the address must begin with tls://, not " + url->scheme + ":");
    TlsOptions options{text_of(known.certificate), text_of(known.key), text_of(known.authorities),
                       text_of(known.server_name)};
    *url = with_tls_options(std::move(*url), options);
    if (is_name) url->query.emplace_back("tls", "");  // wanted, also when there is no option
  }
  if (url->scheme != "tls" && !is_name) return NEBULA_OK;
  Url plain = *url;
  std::optional<TlsOptions> options = take_tls_options(plain);
  if (is_name && !options) return NEBULA_OK;
  // Files that do not work are said here, where there is somebody to hear it, and not at the first call.
  Result<TlsContext> tried = make_tls_context(options.value_or(TlsOptions()), side);
  return tried.ok() ? NEBULA_OK : fail(error, tried.status());
}

}  // namespace nebula
