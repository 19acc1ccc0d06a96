// transport/tls_options.cc - options of tls:// from an address, and back into it.
#include "transport/tls_options.h"

#include <utility>

namespace nebula {

namespace {

constexpr std::pair<std::string_view, std::string TlsOptions::*> fields[] = {
    {"cert", &TlsOptions::certificate},
    {"key", &TlsOptions::key},
    {"ca", &TlsOptions::authorities},
    {"name", &TlsOptions::server_name},
};

}  // namespace

std::optional<TlsOptions> take_tls_options(Url& url) {
  std::optional<TlsOptions> options;
  std::erase_if(url.query, [&options](std::pair<std::string, std::string>& each) {
    bool is_ours = each.first == "tls";
    for (const auto& [name, field] : fields) {
      if (each.first != name) continue;
      is_ours = true;
      if (!options) options.emplace();
      (*options).*field = std::move(each.second);
    }
    if (is_ours && !options) options.emplace();
    return is_ours;
  });
  return options;
}

Url with_tls_options(Url url, const TlsOptions& options) {
  take_tls_options(url);
  for (const auto& [name, field] : fields)
    if (!(options.*field).empty()) url.query.emplace_back(name, options.*field);
  return url;
}

std::vector<Url> trusted_urls(std::vector<Url> announced, const std::optional<TlsOptions>& options) {
  if (options) std::erase_if(announced, [](const Url& url) { return url.scheme != "tls"; });
  for (Url& url : announced)
    if (url.scheme == "tls") url = with_tls_options(std::move(url), options.value_or(TlsOptions()));
  return announced;
}

}  // namespace nebula
