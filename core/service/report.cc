// service/report.cc - a channel and its nodes as somebody wants to see them who asks why a call goes where it goes.
#include "base/hash.h"
#include "service/channel.h"

namespace nebula {

ChannelReport Channel::report() const {
  ChannelReport report;
  report.target = service_;
  report.trouble = trouble_.message();
  report.waiting = waiting_.size() + pausing_.size();
  for (const auto* list : {&nodes_, &leaving_})
    for (const std::unique_ptr<Node>& node : *list) report.nodes.push_back(node->report());
  return report;
}

// What is in the way, the longest lasting first.
NodeReport Node::report() const {
  NodeReport report;
  report.id = endpoint.id;
  for (const Url& url : endpoint.urls) report.address.append(report.address.empty() ? "" : " ").append(url.text());
  report.zone = endpoint.zone;
  if (endpoint.description != 0) report.description = hex64(endpoint.description);
  report.weight = endpoint.weight;
  report.inflight = inflight;
  report.latency = nanos(static_cast<int64_t>(latency.ns(env_.loop.now())));
  report.trouble = trouble().message();
  report.counts.add(counts);
  Isolation::State isolation = isolation_.state();
  report.state = retired_                                  ? "leaving"
                 : endpoint.draining                       ? "draining"
                 : is_unwell()                             ? "not_serving"
                 : isolation == Isolation::State::open     ? "isolated"
                 : isolation == Isolation::State::half_open ? "probed"
                 : state_ == State::waiting                ? "unreachable"
                 : !is_working()                            ? "connecting"
                 : is_full_                                ? "full"
                                                           : "usable";
  return report;
}

}  // namespace nebula
