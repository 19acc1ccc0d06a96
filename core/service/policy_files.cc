// service/policy_files.cc - watch, read, tell.
#include "service/policy_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "service/registry/policy_texts.h"

namespace nebula {

Result<std::string> read_policy_file(const std::string& path) {
  size_t slash = path.rfind('/');
  if (!path.starts_with('/') || slash + 1 == path.size() || path[slash + 1] == '.')
    return invalid_argument("policy file:" + path + ": write file:/path/name; a name does not begin with a dot");
  auto failed = [&path] { return unavailable("policy file:" + path + ": " + std::strerror(errno)); };
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return failed();
  std::string text(limits::policy_bytes_max + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    ssize_t count = read(fd.get(), text.data() + size, text.size() - size);
    if (count < 0) return failed();
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  if (size > limits::policy_bytes_max)
    return invalid_argument("policy file:" + path + ": larger than " + std::to_string(limits::policy_bytes_max >> 10) + " KiB");
  text.resize(size);
  return text;
}

PolicyFile::PolicyFile(std::string path, Loop& loop, OnLook on_look)
    : path_(std::move(path)),
      directory_(path_.substr(0, std::max<size_t>(path_.rfind('/'), 1))),
      name_(path_.substr(path_.rfind('/') + 1)),
      loop_(loop),
      on_look_(std::move(on_look)) {
  DirectoryWatch::Owner& owner = *this;
  watch_ = std::make_unique<DirectoryWatch>(loop_, directory_, owner);
  on_look_(read_policy_file(path_));
}

// A directory that has gone is looked for now and then, as the watch does when it has none.
void PolicyFile::on_events(std::vector<DirectoryEvent> events) {
  bool is_ours = false, must_begin = watch_->is_polling();
  for (const DirectoryEvent& event : events) {
    must_begin |= event.kind == DirectoryEvent::ended || event.kind == DirectoryEvent::missed;
    // Kubernetes turns a link named ..data.
    is_ours |= event.name == name_ || event.name.starts_with("..");
  }
  if (must_begin) {
    DirectoryWatch::Owner& owner = *this;
    watch_ = std::make_unique<DirectoryWatch>(loop_, directory_, owner);
  }
  if (is_ours || must_begin) on_look_(read_policy_file(path_));
}

}  // namespace nebula
