// loop/files_watch.h - DirectoryWatch: what happens to the files of a directory.
//
// Raw inotify, because libuv's own watcher neither asks for IN_CLOSE_WRITE, which is how a death is seen, nor tells of
// lost events. One inotify instance each: a user has 128, so keep one DirectoryWatch per directory and process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "loop/files.h"
#include "loop/loop.h"

namespace nebula {

struct DirectoryEvent {
  enum Kind {
    placed,   // a file was moved to this name
    removed,  // deleted, or moved away
    closed,   // somebody who could write to it closed it; perhaps by dying
    missed,   // events were lost, or the directory itself moved: look at all of it again
    ended,    // the same, and this watch sees nothing any more
  };
  Kind kind;
  std::string name;  // of the file; names that begin with one dot are not reported
};

class DirectoryWatch {
 public:
  class Owner {
   public:
    // All that was seen in one turn, in order. The watch may be destroyed inside.
    virtual void on_events(std::vector<DirectoryEvent> events) = 0;

   protected:
    ~Owner() = default;
  };

  // Sees the directory that `path` leads to now, and its parent, for a directory's own removal is told only when the
  // last file in it is closed. Where inotify is used up, tells `missed` every limits::registry_poll_interval instead.
  DirectoryWatch(Loop& loop, const std::string& path, Owner& owner);
  DirectoryWatch(const DirectoryWatch&) = delete;
  DirectoryWatch& operator=(const DirectoryWatch&) = delete;

  bool is_polling() const { return timer_ != nullptr; }

  // All that has happened by now and was not told yet.
  std::vector<DirectoryEvent> take_events();

 private:
  bool start(const std::string& path);
  bool read_events(std::vector<DirectoryEvent>* events);  // some of them; false: there are none
  void on_readable();
  void poll_later();
  void on_timer();

  Loop& loop_;
  Owner& owner_;
  Fd fd_;
  int directory_ = -1;  // watch descriptors
  int parent_ = -1;
  std::string name_in_parent_;
  std::unique_ptr<FdWatch> fd_watch_;  // after fd_: ends before it is closed
  std::unique_ptr<Timer> timer_;
};

}  // namespace nebula
