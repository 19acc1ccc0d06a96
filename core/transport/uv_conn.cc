// transport/uv_conn.cc - recv, sendmsg, and when to call them.
#include "transport/uv_conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "transport/socket_address.h"

namespace nebula {

namespace {

// One sendmsg takes so many pieces; the system's own bound (IOV_MAX) is 1024, and the array stands on the stack.
constexpr size_t pieces_max = 64;

}  // namespace

UvConn::UvConn(UvLoop& loop, Fd socket, Peer peer) : loop_(loop), peer_(std::move(peer)), socket_(std::move(socket)) {}

UvConn::~UvConn() {
  // A last word, as GOAWAY, is written and the connection closed in one turn.
  if (!is_closed_ && unsent_ > 0 && !waits_for_room_) send_all();
}

void UvConn::start(ConnEvents& up) {
  NEBULA_ASSERT(up_ == nullptr);
  up_ = &up;
  Result<std::unique_ptr<UvPoll>> poll = UvPoll::make(loop_, socket_.get(), [this](bool readable, bool writable) {
    Anchor<UvConn>::Ref self = anchor_.ref();
    if (writable) flush();
    if (readable && self.get() != nullptr && !is_closed_ && !is_paused_) read();
  });
  if (!poll.ok()) {
    loop_.later([self = anchor_.ref(), why = poll.status().with_context(peer_.address)] {
      if (self.get() != nullptr) self.get()->close(why);
    });
    return;
  }
  poll_ = std::move(*poll);
  update_wants();
}

void UvConn::write(Bytes data) {
  if (is_closed_ || !write_error_.ok() || data.empty()) return;
  unsent_ += data.size();
  queue_.push_back(std::move(data));
  if (!waits_for_room_) flush_later();
}

void UvConn::pause(bool on) {
  is_paused_ = on;
  update_wants();
}

// TCP_USER_TIMEOUT (gRFC A18). Refused by what is no TCP socket, which needs none.
void UvConn::limit_unacknowledged(Duration time) {
  unsigned int value = static_cast<unsigned int>(time.ms());
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &value, sizeof value);
}

void UvConn::update_wants() {
  if (poll_ != nullptr) poll_->want(!is_paused_, waits_for_room_);
}

void UvConn::flush_later() {
  if (flush_is_due_) return;
  flush_is_due_ = true;
  loop_.later([self = anchor_.ref()] {
    UvConn* conn = self.get();
    if (conn == nullptr) return;
    conn->flush_is_due_ = false;
    if (!conn->is_closed_) conn->flush();
  });
}

void UvConn::flush() {
  bool has_work = unsent_ > 0;
  if (!send_all()) {
    queue_.clear();
    unsent_ = 0;
    waits_for_room_ = false;
    // What the peer said before it went may explain why it did. A reader that does not want to hear it gets the end.
    if (is_paused_) return close(write_error_);
    update_wants();
    return read();
  }
  waits_for_room_ = unsent_ > 0;
  update_wants();
  if (has_work && unsent_ == 0) up_->on_drained();
}

// Sends as much as there is room for. False: the peer takes no more, see write_error_.
bool UvConn::send_all() {
  while (unsent_ > 0) {
    iovec pieces[pieces_max];
    size_t count = 0;
    size_t offered = 0;
    for (size_t i = first_; i < queue_.size() && count < pieces_max; i++, count++) {
      size_t skip = i == first_ ? first_sent_ : 0;
      pieces[count] = {const_cast<char*>(queue_[i].data()) + skip, queue_[i].size() - skip};
      offered += pieces[count].iov_len;
    }
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) return true;
    if (sent < 0) {
      write_error_ = socket_error(peer_.address, errno);
      return false;
    }
    take_sent(static_cast<size_t>(sent));
    if (static_cast<size_t>(sent) < offered) return true;
  }
  return true;
}

void UvConn::take_sent(size_t size) {
  unsent_ -= size;
  while (size > 0) {
    size_t left = queue_[first_].size() - first_sent_;
    if (size < left) {
      first_sent_ += size;
      break;
    }
    size -= left;
    queue_[first_] = {};
    first_++;
    first_sent_ = 0;
  }
  // Moving the rest to the front now and then keeps a queue that is never empty from growing.
  if (first_ == queue_.size() || first_ >= 2 * pieces_max) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
}

void UvConn::read() {
  Anchor<UvConn>::Ref self = anchor_.ref();
  for (int reads = 0; reads < limits::reads_in_a_row_max; reads++) {
    Block* block = loop_.read_block();
    if (block == nullptr) return close(resource_exhausted(peer_.address + ": no memory to read into"));
    ssize_t got = ::recv(socket_.get(), block->data(), block->capacity(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      if (!write_error_.ok()) close(write_error_);
      return;
    }
    if (got < 0) return close(socket_error(peer_.address, errno));
    if (got == 0) return close(write_error_);
    block->set_size(static_cast<size_t>(got));
    up_->on_bytes(Bytes::adopt(block->ref()));
    if (self.get() == nullptr || is_closed_ || is_paused_) return;
    // A short read has emptied the socket. Once the peer is known to be gone, the end is looked for at once.
    if (static_cast<size_t>(got) < block->capacity() && write_error_.ok()) return;
  }
  // The others of this loop get their turn; this one goes on in the next.
  loop_.raise();
}

void UvConn::close(Status why) {
  if (is_closed_) return;
  is_closed_ = true;
  poll_.reset();
  socket_.reset();
  queue_.clear();
  unsent_ = 0;
  up_->on_closed(std::move(why));
}

}  // namespace nebula
