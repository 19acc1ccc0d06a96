// loop/files_watch.cc - inotify's records, read into DirectoryEvents.
#include "loop/files_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cstring>

#include "base/limits.h"

namespace nebula {

namespace {

// Not IN_OPEN, IN_MODIFY or IN_CLOSE_NOWRITE: every probe would cause them, and watchers wake each other for ever.
constexpr uint32_t directory_mask =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr uint32_t parent_mask =
    IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

DirectoryEvent::Kind kind_of(uint32_t mask) {
  if ((mask & IN_MOVED_TO) != 0) return DirectoryEvent::placed;
  if ((mask & IN_CLOSE_WRITE) != 0) return DirectoryEvent::closed;
  return DirectoryEvent::removed;
}

}  // namespace

DirectoryWatch::DirectoryWatch(Loop& loop, const std::string& path, Owner& owner) : loop_(loop), owner_(owner) {
  if (!start(path)) poll_later();
}

bool DirectoryWatch::start(const std::string& path) {
  fd_ = Fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd_) return false;
  directory_ = inotify_add_watch(fd_.get(), path.c_str(), directory_mask);
  if (directory_ < 0) return false;
  size_t slash = path.rfind('/');
  std::string parent = slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
  name_in_parent_ = path.substr(slash == std::string::npos ? 0 : slash + 1);
  // Without rights to the parent the directory is watched all the same.
  parent_ = inotify_add_watch(fd_.get(), parent.c_str(), parent_mask);
  fd_watch_ = loop_.watch(fd_.get(), [this] { on_readable(); });
  return true;
}

void DirectoryWatch::poll_later() {
  timer_ = loop_.after(limits::registry_poll_interval, [this] { on_timer(); });
}

void DirectoryWatch::on_timer() {
  poll_later();
  owner_.on_events({{DirectoryEvent::missed, ""}});
}

void DirectoryWatch::on_readable() {
  std::vector<DirectoryEvent> events;
  read_events(&events);
  if (!events.empty()) owner_.on_events(std::move(events));
}

std::vector<DirectoryEvent> DirectoryWatch::take_events() {
  std::vector<DirectoryEvent> events;
  while (read_events(&events)) {
  }
  return events;
}

bool DirectoryWatch::read_events(std::vector<DirectoryEvent>* events) {
  alignas(inotify_event) char buffer[16 << 10];
  ssize_t size = read(fd_.get(), buffer, sizeof buffer);
  for (ssize_t at = 0; at < size;) {
    const inotify_event* event = reinterpret_cast<const inotify_event*>(buffer + at);
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    std::string name = event->len > 0 ? event->name : "";
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
      events->push_back({DirectoryEvent::missed, ""});
    } else if ((event->mask & (IN_IGNORED | IN_UNMOUNT | IN_MOVE_SELF | IN_DELETE_SELF)) != 0) {
      events->push_back({DirectoryEvent::ended, ""});
    } else if (event->wd == parent_) {
      if (name == name_in_parent_) events->push_back({DirectoryEvent::missed, ""});
    } else if (event->wd == directory_ && !name.empty() && (name[0] != '.' || name.starts_with(".."))) {
      events->push_back({kind_of(event->mask), std::move(name)});
    }
  }
  return size > 0;
}

}  // namespace nebula
