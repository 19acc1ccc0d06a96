// service/channel.cc - the way of a call from a name to a node.
#include "service/channel.h"

#include <algorithm>

#include "base/log.h"

namespace nebula {

Channel::Channel(const Env& env, Registry& registry, ChannelName name, std::unique_ptr<Balancer> balancer,
                 ChannelLimits limits)
    : env_(env),
      registry_(registry),
      service_(std::move(name.service)),
      authority_(std::move(name.authority)),
      tls_(std::move(name.tls)),
      balancer_(std::move(balancer)),
      limits_(limits) {}

Channel::~Channel() {
  watch_.reset();
  balancer_->update({});
  nodes_.clear();
  leaving_.clear();
  std::map<int64_t, Waiting> waiting = std::move(waiting_);
  // All first: whoever hears of the end of one may cancel another.
  for (auto& [id, call] : waiting) call.request.context->on_cancel(nullptr);
  for (auto& [id, call] : waiting) call.reply(unavailable("the channel to \"" + service_ + "\" was closed"));
}

void Channel::call(Request request, Reply reply) {
  // Its answer would come in the midst of placing it, and may destroy whoever places it.
  if (request.context->is_cancelled())
    return request.context->on_cancel([&reply](const Status& why) { reply(why); });
  // First the deadline: it counts from here on, whatever the call will wait for.
  request.context->keep_deadline(env_.loop);
  if (request.context->deadline() <= env_.loop.now())
    return reply(deadline_exceeded("the deadline passed before the call was sent"));
  called_ = env_.loop.now();
  if (idle_timer_ == nullptr && limits_.idle_max > Duration{}) look_for_idleness(limits_.idle_max);
  Waiting call{next_turn_++, std::move(request), std::move(reply)};
  // Not past those that wait already: calls go in the order in which they came.
  if (waiting_.empty() && place(call)) return;
  if (waiting_.size() >= limits::calls_waiting_max)
    return call.reply(
        resource_exhausted(std::to_string(waiting_.size()) + " calls wait for \"" + service_ + "\" already"));
  // A name that nobody announced a moment ago may be there now: ask again before saying no.
  if (nodes_.empty() && look_timer_ == nullptr)
    look();
  else if (look_timer_ == nullptr && !may_wait() && !call.request.wait_for_ready)
    return call.reply(why_not());
  wait(std::move(call));
}

// ---- idleness

void Channel::look_for_idleness(Duration wait) {
  idle_timer_ = env_.loop.after(wait, [this] {
    Time now = env_.loop.now();
    Time last = waiting_.empty() ? called_ : now;
    for (const std::unique_ptr<Node>& node : nodes_) last = std::max(last, std::min(node->idle_since(), now));
    Duration left = limits_.idle_max - (now - last);
    if (left > Duration{}) return look_for_idleness(left);
    go_idle();
  });
}

void Channel::go_idle() {
  NEBULA_LOG(env_.log, debug, "\"" + service_ + "\" is idle");
  idle_timer_.reset();
  look_timer_.reset();
  watch_.reset();
  trouble_ = {};
  balancer_->update({});
  for (std::unique_ptr<Node>& node : std::exchange(nodes_, {})) leave(std::move(node));
}

// ---- the registry

void Channel::look() {
  watch_ = registry_.watch(service_, [this](Snapshot snapshot) { on_snapshot(std::move(snapshot)); });
  look_timer_ = env_.loop.after(limits::resolve_timeout, [this] {
    look_timer_.reset();
    trouble_ =
        unavailable("the registry has not answered for " + std::to_string(limits::resolve_timeout.ms() / 1000) + " s");
    fail_waiting();
  });
}

void Channel::on_snapshot(Snapshot snapshot) {
  look_timer_.reset();
  trouble_ = snapshot.trouble;
  similar_ = std::move(snapshot.similar);
  EndpointList endpoints = *snapshot.endpoints;
  for (Endpoint& each : endpoints) each.urls = trusted_urls(std::move(each.urls), tls_);
  NEBULA_LOG(env_.log, debug, "\"" + service_ + "\" has " + std::to_string(endpoints.size()) + " instances");

  std::vector<std::unique_ptr<Node>> before = std::move(nodes_);
  nodes_.clear();
  for (const Endpoint& endpoint : endpoints) {
    auto known = std::find_if(before.begin(), before.end(), [&](const std::unique_ptr<Node>& node) {
      return node != nullptr && node->endpoint == endpoint;
    });
    if (known != before.end())
      nodes_.push_back(std::move(*known));
    else
      nodes_.push_back(std::make_unique<Node>(env_, endpoint, *this, limits_.session));
  }
  std::vector<const NodeState*> states;
  for (const std::unique_ptr<Node>& node : nodes_) states.push_back(node.get());
  balancer_->update(std::move(states));
  for (const std::unique_ptr<Node>& node : nodes_) node->connect();

  for (std::unique_ptr<Node>& node : before) {
    if (node == nullptr) continue;
    // A process that died holds its sockets open for as long as the kernel needs to free its memory: its calls end now.
    if (std::find(snapshot.died.begin(), snapshot.died.end(), node->endpoint.id) != snapshot.died.end()) {
      env_.loop.later([died = std::move(node)] {});
      continue;
    }
    leave(std::move(node));
  }
  on_node_changed();
}

void Channel::leave(std::unique_ptr<Node> node) {
  leaving_.push_back(std::move(node));
  leaving_.back()->retire([this, gone = leaving_.back().get()] { remove(gone); });
}

void Channel::remove(Node* node) {
  auto found = std::find_if(leaving_.begin(), leaving_.end(),
                            [&](const std::unique_ptr<Node>& each) { return each.get() == node; });
  std::unique_ptr<Node> gone = std::move(*found);
  leaving_.erase(found);
  env_.loop.later([gone = std::move(gone)] {});  // it is its own event that we are in
}

// ---- placing

void Channel::on_node_changed() {
  serve_waiting();
  if (look_timer_ == nullptr && !may_wait()) fail_waiting();
}

bool Channel::place(Waiting& call) {
  while (const NodeState* state = balancer_->pick(call.request)) {
    auto node = std::find_if(nodes_.begin(), nodes_.end(),
                             [&](const std::unique_ptr<Node>& each) { return each.get() == state; });
    Again again = [self = anchor_.ref(), turn = call.turn](Request request, Reply reply, Ending why) {
      if (Channel* channel = self.get())
        return channel->place_again({turn, std::move(request), std::move(reply)}, std::move(why));
      reply(Response{std::move(why)});
    };
    // A node that cannot take it is marked as not usable, so this ends.
    if ((*node)->call(authority_, limits_.message_bytes_max, call.request, call.reply, &again).ok()) return true;
  }
  return false;
}

// Transparent retry (gRFC A6): what never left is tried until the deadline, what a connection has left out at its end
// once more. What a server refuses for the number of calls that it takes is like what never left: it is tried until the
// deadline too, for its session lets it out only when there seems to be room.
void Channel::place_again(Waiting call, Ending why) {
  if (why.fate == Fate::unprocessed && std::exchange(call.request.was_left_out, true))
    return call.reply(Response{std::move(why)});
  wait(std::move(call));
  // In a later step: this comes from the depth of a session's event.
  env_.loop.later([self = anchor_.ref()] {
    if (Channel* channel = self.get()) channel->on_node_changed();
  });
}

void Channel::wait(Waiting call) {
  int64_t turn = call.turn;
  Context* context = call.request.context;
  waiting_.emplace(turn, std::move(call));
  context->on_cancel([this, turn](const Status& why) {
    auto found = waiting_.find(turn);
    Reply reply = std::move(found->second.reply);
    waiting_.erase(found);
    std::string text(why.message());
    if (nodes_.empty())
      text.append("; ").append(why_not().message());
    else
      text.append(" while the call waited for a connection to \"" + service_ + "\"");
    reply(Status(why.code(), std::move(text)));
  });
}

void Channel::serve_waiting() {
  while (!waiting_.empty()) {
    auto first = waiting_.begin();
    Waiting call = std::move(first->second);
    call.request.context->on_cancel(nullptr);
    waiting_.erase(first);
    if (place(call)) continue;
    return wait(std::move(call));  // back to its place at the head of the line
  }
}

void Channel::fail_waiting() {
  Status why = why_not();
  std::vector<Waiting> failed;
  for (auto each = waiting_.begin(); each != waiting_.end();) {
    if (each->second.request.wait_for_ready) {
      ++each;
      continue;
    }
    each->second.request.context->on_cancel(nullptr);
    failed.push_back(std::move(each->second));
    each = waiting_.erase(each);
  }
  for (Waiting& call : failed) call.reply(why);
}

bool Channel::may_wait() const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const std::unique_ptr<Node>& node) { return node->is_promising(); });
}

Status Channel::why_not() const {
  std::string text;
  if (nodes_.empty()) {
    text = "no instance of \"" + service_ + "\" is announced";
    for (size_t i = 0; i < similar_.size(); i++) {
      std::string_view before = i == 0 ? "; did you mean " : i + 1 == similar_.size() ? " or " : ", ";
      text.append(before).append("\"" + similar_[i] + "\"");
    }
    if (!similar_.empty()) text.append("?");
    if (!trouble_.ok()) text.append("; ").append(trouble_.message());
    return unavailable(std::move(text));
  }
  text = "\"" + service_ + "\" has " + std::to_string(nodes_.size()) +
         (nodes_.size() == 1 ? " instance, but it cannot be reached: " : " instances, but none can be reached: ");
  for (const std::unique_ptr<Node>& node : nodes_) {
    if (node->trouble().ok()) continue;
    return unavailable(text.append(node->trouble().message()));
  }
  return unavailable(text.append("all are draining"));
}

// ---- a channel to every name

std::string_view service_of_path(std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  return path.substr(0, path.find('/'));
}

void Channels::call(Request request, Reply reply) {
  std::string_view service = service_of_path(request.method->path);
  auto found = channels_.find(service);
  if (found == channels_.end()) {
    if (Status status = check_service_name(service); !status.ok()) return reply(std::move(status));
    Result<std::unique_ptr<Channel>> channel = make_(std::string(service));
    if (!channel.ok()) return reply(channel.status());
    found = channels_.emplace(service, std::move(*channel)).first;
  }
  found->second->call(std::move(request), std::move(reply));
}

}  // namespace nebula
