// service/policy_files.cc - read, compare, check, tell.
#include "service/policy_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace nebula {

namespace {

// A policy is a few lines; a service config of hundreds of methods some tens of KB. More is another file.
constexpr size_t policy_bytes_max = 256u << 10;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view spaces = " \t\r\n";
  size_t first = text.find_first_not_of(spaces);
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(spaces) - first + 1);
}

}  // namespace

std::optional<std::string> policy_file_of(std::string_view text) {
  text = trimmed(text);
  if (!text.starts_with("file:")) return std::nullopt;
  return std::string(text.substr(5));
}

Result<std::string> read_policy_file(const std::string& path) {
  size_t slash = path.rfind('/');
  if (!path.starts_with('/') || slash + 1 == path.size() || path[slash + 1] == '.')
    return invalid_argument("policy file:" + path + ": write file:/path/name; a name does not begin with a dot");
  auto failed = [&path] { return unavailable("policy file:" + path + ": " + std::strerror(errno)); };
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return failed();
  std::string text(policy_bytes_max + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    ssize_t count = read(fd.get(), text.data() + size, text.size() - size);
    if (count < 0) return failed();
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  if (size > policy_bytes_max)
    return invalid_argument("policy file:" + path + ": larger than " + std::to_string(policy_bytes_max >> 10) + " KiB");
  text.resize(size);
  return text;
}

class PolicyFile::Reader final : public Watch {
 public:
  Reader(Anchor<PolicyFile>::Ref file, uint64_t id) : file_(std::move(file)), id_(id) {}
  ~Reader() override {
    if (PolicyFile* file = file_.get()) file->readers_.erase(id_);
  }

 private:
  Anchor<PolicyFile>::Ref file_;
  uint64_t id_;
};

PolicyFile::PolicyFile(std::string path, Loop& loop, Log& log, Check& check)
    : path_(std::move(path)),
      directory_(path_.substr(0, std::max<size_t>(path_.rfind('/'), 1))),
      name_(path_.substr(path_.rfind('/') + 1)),
      loop_(loop),
      log_(log),
      check_(check) {
  DirectoryWatch::Owner& owner = *this;
  watch_ = std::make_unique<DirectoryWatch>(loop_, directory_, owner);
  look();
}

std::unique_ptr<Watch> PolicyFile::watch(Fn<void(std::string)> on_text) {
  uint64_t id = ++ids_given_;
  readers_[id] = std::move(on_text);
  loop_.later([self = anchor_.ref(), id] {
    PolicyFile* file = self.get();
    if (file == nullptr || !file->good_) return;
    if (auto reader = file->readers_.find(id); reader != file->readers_.end()) reader->second(*file->good_);
  });
  return std::make_unique<Reader>(anchor_.ref(), id);
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
  if (is_ours || must_begin) look();
}

void PolicyFile::look() {
  Result<std::string> text = read_policy_file(path_);
  if (!text.ok()) {
    if (std::exchange(seen_, std::nullopt) || !good_)
      NEBULA_LOG(log_, warn, std::string(text.status().message()) + "; the policy stays as it was");
    return;
  }
  if (seen_ == *text) return;
  seen_ = std::move(*text);
  if (Status status = check_(*seen_); !status.ok()) {
    NEBULA_LOG(log_, warn, "file:" + path_ + ": " + std::string(status.message()) + "; the policy stays as it was");
    return;
  }
  if (good_ == seen_) return;
  NEBULA_LOG(log_, info, "policy file:" + path_ + " is in force");
  good_ = seen_;
  tell();
}

void PolicyFile::tell() {
  for (auto& [id, on_text] : readers_) on_text(*good_);
}

std::unique_ptr<Watch> RegistryWithFiles::watch_policy(std::string_view place, Fn<void(std::string)> on_text) {
  std::optional<std::string> path = policy_file_of(place);
  if (!path) return inner_->watch_policy(place, std::move(on_text));
  std::unique_ptr<PolicyFile>& file = files_[*path];
  if (file == nullptr) file = std::make_unique<PolicyFile>(*path, loop_, log_, check_);
  return file->watch(std::move(on_text));
}

}  // namespace nebula
