// loop/files.h - files that a living process holds: placed under a lock, probed, tidied away when their holder died.
//
// The kernel frees a lock at the death of its holder, however that died, so a locked file in a known directory is a
// sign of life that needs no heartbeat. Knows nothing of services: service/registry/host.cc does. All calls are short
// system calls on a local file system (3 to 20 us) and made on the caller's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "loop/fork.h"

namespace nebula {

// Which file, whatever its name. True only while somebody keeps the file open: numbers are used again.
struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const FileId&) const = default;
};

enum class Life {
  alive,    // somebody holds the lock
  dead,     // the file is there, and nobody holds it
  gone,     // no file of that name that could be held
  unknown,  // could not look, for want of descriptors or rights
};

// A file that this process holds.
class HeldFile {
 public:
  HeldFile(std::string name, Fd fd, FileId id) : name_(std::move(name)), fd_(std::move(fd)), id_(id) {}

  const std::string& name() const { return name_; }
  FileId id() const { return id_; }

 private:
  std::string name_;
  Fd fd_;  // the lock goes when it is closed, and not before
  FileId id_;
};

// A directory of held files, which nobody but this user can write to.
class Directory {
 public:
  // Opens root/below[0]/below[1]..., and makes what is missing of it (mode 0700). Everything below the root must be a
  // real directory of this user that others cannot write to: in /tmp somebody else may have been there first.
  // Network file systems are refused.
  static Result<std::unique_ptr<Directory>> prepare(const std::string& root, const std::vector<std::string>& below);

  const std::string& path() const { return path_; }

  // Does the path still lead here? A directory that was removed lives on as long as somebody has it open.
  bool is_current() const;

  Result<std::vector<std::string>> names() const;

  // Puts a file there that is complete and locked from the first moment in which others can see it; a file of the
  // same name is replaced.
  Result<std::unique_ptr<HeldFile>> place(const std::string& name, std::string_view content) const;
  bool has(const HeldFile& file) const;     // is it still where it was placed?
  void remove(const HeldFile& file) const;  // if it is still there

  // Read-only and with a shared lock: a descriptor for writing would wake all watchers when closed, and two exclusive
  // probes of a dead file would take each other for its holder.
  Life probe(const std::string& name) const;
  // The same; fills `text` when alive or dead, with at most `bytes_max` + 1 bytes. Own files are not probed.
  Life read(const std::string& name, bool is_own, size_t bytes_max, std::string* text) const;

  // Removes a dead file, and the sockets named in `sockets` before it. False: somebody holds it, or is tidying too.
  bool tidy(const std::string& name, const std::vector<std::string>& sockets = {}) const;
  // Removes a socket that nobody listens at, unless it is so young that its owner may be about to.
  void tidy_socket(const std::string& name) const;

 private:
  Directory(std::string path, Fd fd, FileId id) : path_(std::move(path)), fd_(std::move(fd)), id_(id) {}

  Life open_file(const std::string& name, Fd* fd) const;  // alive: a file is open
  Life probe(const Fd& fd) const;

  std::string path_;
  Fd fd_;  // O_PATH; as long as it is open no other directory gets this one's numbers
  FileId id_;
};

// Directory::place for the keeper thread, whose descriptors are not those of the process. Returns the locked file.
Result<int> place_locked(int directory, const std::string& name, std::string_view content);

// Never met before on this machine or another: 16 hex digits. From the system, since a program's own seed may be fixed.
std::string unique_name();

FileId file_id(int fd);
FileId file_id(int directory, const std::string& name);  // zeros if there is none; links are not followed

}  // namespace nebula
