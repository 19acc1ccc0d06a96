// rpc/router.cc - exact paths only: "/service/method" and nothing that merely looks like it.
#include "rpc/router.h"

#include <algorithm>

#include "base/similar.h"

namespace nebula {

namespace {

// "" when the path is not "/service/method".
std::string_view service_of(std::string_view path) {
  if (!path.starts_with('/')) return {};
  size_t slash = path.find('/', 1);
  if (slash == std::string_view::npos || slash == 1 || slash + 1 == path.size()) return {};
  if (path.find('/', slash + 1) != std::string_view::npos) return {};
  return path.substr(1, slash - 1);
}

}  // namespace

Status unknown_method(std::string_view service, std::string_view method, const std::vector<std::string>& methods) {
  std::string text = std::string(service) + " has no method \"" + std::string(method) + "\" (methods: ";
  for (size_t i = 0; i < methods.size(); i++) text.append(i == 0 ? "" : ", ").append(methods[i]);
  return unimplemented(text.append(")").append(did_you_mean(similar_names(method, methods))));
}

Status Router::add(Method method) {
  if (service_of(method.path).empty())
    return invalid_argument("method path \"" + method.path + "\" must look like /service/method");
  std::string path = method.path;
  if (!methods_.emplace(path, std::move(method)).second) return already_exists("method " + path + " is there twice");
  return {};
}

const Method* Router::find(std::string_view path) const {
  auto found = methods_.find(path);
  return found == methods_.end() ? nullptr : &found->second;
}

Status Router::unknown(std::string_view path) const {
  std::string_view service = service_of(path);
  if (service.empty()) return unimplemented("path \"" + std::string(path) + "\" is not /service/method");
  std::vector<std::string> methods = methods_of(service);
  if (methods.empty()) return unimplemented("no service \"" + std::string(service) + "\" here");
  return unknown_method(service, path.substr(service.size() + 2), methods);
}

std::vector<std::string> Router::methods_of(std::string_view service) const {
  std::vector<std::string> names;
  for (const auto& [path, method] : methods_)
    if (service_of(path) == service) names.push_back(path.substr(service.size() + 2));
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> Router::services() const {
  std::vector<std::string> names;
  for (const auto& [path, method] : methods_) names.emplace_back(service_of(path));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace nebula
