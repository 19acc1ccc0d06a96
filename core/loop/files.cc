// loop/files.cc - the system calls of files.h, in the order that makes them safe.
#include "loop/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace nebula {

namespace {

// A sweeper can take a file that was made but not yet locked for a leftover; so often in a row it will not happen.
constexpr int place_tries_max = 8;
// Between bind and listen a socket refuses like a dead one; nobody needs so long for that.
constexpr time_t young_socket_seconds = 10;

struct NetworkFileSystem {
  uint64_t magic;
  const char* name;
};

// Their locks or their events end at the border of this kernel, or hang when the server does. FUSE is not among them:
// the kernel itself keeps its locks and events, and the root of a rootless container is such a one. 9p is: it is how
// virtual machines lend a folder, and what its servers make of a lock differs.
constexpr NetworkFileSystem network_file_systems[] = {
    {0x6969, "nfs"},     {0x517b, "smb"},      {0xfe534d42, "smb2"}, {0xff534d42, "cifs"},   {0x01021997, "9p"},
    {0x5346414f, "afs"}, {0x6b414653, "afs"},  {0x00c36400, "ceph"}, {0x0bd00bd0, "lustre"}, {0x73757245, "coda"},
    {0x564c, "ncp"},     {0x47504653, "gpfs"}, {0x01161970, "gfs2"}, {0x7461636f, "ocfs2"},
};

FileId id_of(const struct stat& status) {
  return {static_cast<uint64_t>(status.st_dev), static_cast<uint64_t>(status.st_ino)};
}

std::string joined(const std::string& path, std::string_view name) {
  std::string out(path);
  if (!out.ends_with('/')) out.push_back('/');
  return out.append(name);
}

// Like mkdir -p. What exists is left as it is.
Status make_parents(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
      return system_error("cannot make " + part, errno);
  }
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error("cannot make " + path, errno);
  return {};
}

// Opens a directory that nobody else can have prepared for us.
Result<Fd> open_own(int parent, const std::string& name, const std::string& path) {
  if (mkdirat(parent, name.c_str(), 0700) != 0 && errno != EEXIST) return system_error("cannot make " + path, errno);
  Fd fd(openat(parent, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!fd || fstat(fd.get(), &status) != 0) return system_error("cannot open " + path, errno);
  if (S_ISLNK(status.st_mode))
    return failed_precondition(path + " is a symbolic link, which could be turned to somewhere else: remove it");
  if (!S_ISDIR(status.st_mode)) return failed_precondition(path + " is not a directory: remove it");
  if (status.st_uid != geteuid())
    return failed_precondition(path + " belongs to user " + std::to_string(status.st_uid) +
                               ", and this program runs as user " + std::to_string(geteuid()) + ": have it removed");
  if ((status.st_mode & 022) != 0)
    return failed_precondition("other users can write to " + path + ": run chmod 700 " + path);
  return fd;
}

Status check_file_system(int directory, const std::string& path) {
  struct statfs system;
  // An O_PATH descriptor is enough for fstatfs.
  if (fstatfs(directory, &system) != 0) return system_error("cannot look at the file system of " + path, errno);
  for (const NetworkFileSystem& known : network_file_systems)
    if (static_cast<uint32_t>(system.f_type) == known.magic)
      return failed_precondition(path + " is on a network file system (" + known.name +
                                 "), which does not tell when a process dies: use a local one");
  return {};
}

int write_all(int fd, std::string_view content) {  // 0, or what went wrong
  while (!content.empty()) {
    ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    content.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

// A removed directory can still be open, but nothing can be placed in it any more.
bool is_removed(int directory) {
  struct stat status;
  return fstat(directory, &status) != 0 || status.st_nlink == 0;
}

Life life_of_errno(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:  // a link: nobody holds a lock on that
    case ENXIO:  // a socket
    case ENODEV: return Life::gone;
    default: return Life::unknown;
  }
}

// False: nobody listens there.
bool is_listening(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return true;  // cannot be asked, so it is left alone
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return true;
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || errno != ECONNREFUSED;
}

}  // namespace

FileId file_id(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? id_of(status) : FileId{};
}

FileId file_id(int directory, const std::string& name) {
  struct stat status;
  return fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 ? id_of(status) : FileId{};
}

std::string unique_name() {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number) {
    // Only in the first moments of a machine's life.
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    number = (static_cast<uint64_t>(getpid()) << 40) ^ static_cast<uint64_t>(now.tv_sec * 1'000'000'000 + now.tv_nsec);
  }
  char text[17];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

Result<int> place_locked(int directory, const std::string& name, std::string_view content) {
  for (int tries = 0; tries < place_tries_max; tries++) {
    std::string temporary = "." + unique_name() + ".tmp";
    // For reading and writing: closing a descriptor that could not write is no event to those who watch.
    int fd = openat(directory, temporary.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return system_error("cannot write " + name, errno);
    const char* verb = "lock";
    int error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    bool is_swept = error == EWOULDBLOCK;
    if (error == 0) {
      verb = "write";
      error = write_all(fd, content);
    }
    if (error == 0 && renameat(directory, temporary.c_str(), directory, name.c_str()) == 0) return fd;
    if (error == 0) {
      error = errno;
      is_swept = error == ENOENT && !is_removed(directory);
    }
    unlinkat(directory, temporary.c_str(), 0);
    close(fd);
    if (!is_swept) return system_error(std::string("cannot ") + verb + " " + name, error);
  }
  return unavailable("cannot write " + name + ": it is swept away again and again");
}

Result<std::unique_ptr<Directory>> Directory::prepare(const std::string& root, const std::vector<std::string>& below) {
  Status made = make_parents(root);
  if (!made.ok()) return made;
  Fd fd(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error("cannot open " + root, errno);
  std::string path = root;
  for (const std::string& name : below) {
    path = joined(path, name);
    TRY(fd, open_own(fd.get(), name, path));
  }
  Status usable = check_file_system(fd.get(), path);
  if (!usable.ok()) return usable;
  FileId id = file_id(fd.get());
  return std::unique_ptr<Directory>(new Directory(std::move(path), std::move(fd), id));
}

bool Directory::is_current() const { return file_id(AT_FDCWD, path_) == id_; }

Result<std::vector<std::string>> Directory::names() const {
  int fd = openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = fd >= 0 ? fdopendir(fd) : nullptr;
  if (stream == nullptr) {
    int error = errno;
    if (fd >= 0) close(fd);
    return system_error("cannot read " + path_, error);
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream)) names.push_back(entry->d_name);
  int error = errno;
  closedir(stream);
  if (error != 0) return system_error("cannot read " + path_, error);
  return names;
}

Result<std::unique_ptr<HeldFile>> Directory::place(const std::string& name, std::string_view content) const {
  Result<int> placed = place_locked(fd_.get(), name, content);
  if (!placed.ok()) return placed.status().with_context(path_);
  return std::make_unique<HeldFile>(name, Fd(*placed), file_id(*placed));
}

bool Directory::has(const HeldFile& file) const { return file_id(fd_.get(), file.name()) == file.id(); }

void Directory::remove(const HeldFile& file) const {
  if (has(file)) unlinkat(fd_.get(), file.name().c_str(), 0);
}

Life Directory::open_file(const std::string& name, Fd* fd) const {
  // O_NONBLOCK: else a pipe under that name would hold the loop for ever.
  *fd = Fd(openat(fd_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!*fd) return life_of_errno(errno);
  struct stat status;
  if (fstat(fd->get(), &status) != 0) return Life::unknown;
  return S_ISREG(status.st_mode) ? Life::alive : Life::gone;
}

Life Directory::probe(const std::string& name) const {
  Fd fd;
  Life life = open_file(name, &fd);
  return life == Life::alive ? probe(fd) : life;
}

Life Directory::probe(const Fd& fd) const {
  if (flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return Life::dead;
  return errno == EWOULDBLOCK ? Life::alive : Life::unknown;
}

Life Directory::read(const std::string& name, bool is_own, size_t bytes_max, std::string* text) const {
  Fd fd;
  Life life = open_file(name, &fd);
  if (life == Life::alive && !is_own) life = probe(fd);
  if (life != Life::alive && life != Life::dead) return life;
  // Not cleared first: of thousands of small files that would be most of the work.
  std::unique_ptr<char[]> buffer(new char[bytes_max + 1]);
  ssize_t size = pread(fd.get(), buffer.get(), bytes_max + 1, 0);
  text->assign(buffer.get(), size < 0 ? 0 : static_cast<size_t>(size));
  return size < 0 ? Life::unknown : life;
}

bool Directory::tidy(const std::string& name, const std::vector<std::string>& sockets) const {
  Fd fd;
  Life life = open_file(name, &fd);
  if (life == Life::gone) return true;
  if (life != Life::alive || flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return false;
  // Between open and lock another may have tidied, and a new file may stand there: that one is not ours to remove.
  if (file_id(fd.get()) != file_id(fd_.get(), name)) return true;
  for (const std::string& socket : sockets) {
    struct stat status;
    if (fstatat(fd_.get(), socket.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(status.st_mode))
      unlinkat(fd_.get(), socket.c_str(), 0);
  }
  return unlinkat(fd_.get(), name.c_str(), 0) == 0 || errno == ENOENT;
}

void Directory::tidy_socket(const std::string& name) const {
  struct stat status;
  if (fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISSOCK(status.st_mode)) return;
  if (time(nullptr) - status.st_ctime < young_socket_seconds || is_listening(joined(path_, name))) return;
  unlinkat(fd_.get(), name.c_str(), 0);
}

}  // namespace nebula
