// service/registry/host_place.cc - the choice of host_place.h, once, when the registry is opened.
#include "service/registry/host_place.h"

#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "service/registry/registry.h"

namespace nebula {

namespace {

// Somebody else's directory, as sudo leaves it in the environment, is none of ours.
bool is_own_directory(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
         access(path.c_str(), W_OK | X_OK) == 0;
}

// Without a working directory in it: the program may change that later.
std::string absolute(std::string path) {
  if (!path.starts_with('/')) {
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) != nullptr) path = std::string(here) + "/" + path;
  }
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

HostPlace usual_place() {
  std::string user = std::to_string(geteuid());
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/' && is_own_directory(runtime)) return {absolute(runtime), {"nebula"}};
  std::string usual_runtime = "/run/user/" + user;
  if (is_own_directory(usual_runtime)) return {usual_runtime, {"nebula"}};
  return {"/tmp", {"nebula-" + user}};
}

}  // namespace

std::string HostPlace::path() const {
  std::string path = root == "/" ? "" : root;
  for (const std::string& name : below) path.append("/").append(name);
  return path;
}

Result<HostPlace> choose_host_place(const Url& url) {
  auto bad = [&url](std::string_view why) {
    return invalid_argument("address \"" + url.text() + "\": " + std::string(why));
  };
  if (!url.host.empty() || !url.path.empty()) return bad("write host: or host:?dir=/path");
  for (const auto& [name, value] : url.query) {
    if (name != "dir" && name != "ns") return bad("host: knows the options dir and ns");
    if (value.empty()) return bad(name + " is empty");
  }
  std::optional<std::string_view> space = url.option("ns");
  if (space) {
    Status named = check_service_name(*space);
    if (!named.ok()) return bad("ns: " + std::string(named.message()));
  }
  HostPlace place;
  if (std::optional<std::string_view> directory = url.option("dir")) {
    std::string path = absolute(std::string(*directory));
    size_t slash = path.rfind('/');
    std::string name = path.substr(slash + 1);
    if (name.empty() || name == "." || name == "..") return bad("dir must end in a name of its own");
    place = {slash == 0 ? "/" : path.substr(0, slash), {name}};
    if (space) place.below.emplace_back(*space);
  } else {
    place = usual_place();
    place.below.emplace_back(space.value_or("default"));
  }
  return place;
}

}  // namespace nebula
