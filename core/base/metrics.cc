// base/metrics.cc - under which name, and how the parts of several loops become one.
#include "base/metrics.h"

#include "base/limits.h"

namespace nebula {

namespace {

// gRPC's form of a path.
std::string method_of(std::string_view path) { return std::string(path.starts_with('/') ? path.substr(1) : path); }

}  // namespace

void Histogram::add(const Histogram& more) {
  for (size_t i = 0; i < size; i++) counts[i] += more.counts[i];
  sum = sum + more.sum;
}

uint64_t Histogram::count() const {
  uint64_t all = 0;
  for (uint64_t each : counts) all += each;
  return all;
}

void Durations::add(const Durations& more) {
  for (size_t i = 0; i < by_code.size(); i++) {
    if (more.by_code[i] == nullptr) continue;
    if (by_code[i] == nullptr) by_code[i] = std::make_unique<Histogram>();
    by_code[i]->add(*more.by_code[i]);
  }
}

uint64_t Durations::count(Code code) const {
  const std::unique_ptr<Histogram>& one = by_code[static_cast<size_t>(code)];
  return one == nullptr ? 0 : one->count();
}

void ClientMetrics::add(const ClientMetrics& more) {
  calls += more.calls;
  attempts += more.attempts;
  retries += more.retries;
  transparent_retries += more.transparent_retries;
  for (const Durations* each : {&more.call_duration, &more.shared}) call_duration.add(*each);
  for (const Durations* each : {&more.attempt_duration, &more.shared}) attempt_duration.add(*each);
}

void ServerMetrics::add(const ServerMetrics& more) {
  calls += more.calls;
  call_duration.add(more.call_duration);
}

void NodeMetrics::add(const NodeMetrics& more) {
  picks += more.picks;
  attempts += more.attempts;
  failures += more.failures;
  isolations += more.isolations;
  ejections += more.ejections;
  connects += more.connects;
  connect_failures += more.connect_failures;
  disconnections += more.disconnections;
  connect_time = connect_time + more.connect_time;
  if (more.connects > 0) connect_time_last = more.connect_time_last;
  if (more.latency == nullptr) return;
  if (latency == nullptr) latency = std::make_unique<Histogram>();
  latency->add(*more.latency);
}

void MetricsSnapshot::add(MetricsSnapshot&& more) {
  for (auto& [name, counts] : more.client) client[name].add(counts);
  for (auto& [name, counts] : more.server) server[name].add(counts);
  for (ChannelReport& channel : more.channels) {
    channel.loop += loops;
    channels.push_back(std::move(channel));
  }
  loops += more.loops;
}

ClientMetrics& Metrics::Target::method(std::string_view path) {
  auto found = methods_.find(path);
  if (found != methods_.end()) return found->second;
  if (owner_->client_methods_ >= limits::metrics_methods_max) return methods_[std::string(other)];
  owner_->client_methods_++;
  return methods_[std::string(path)];
}

Metrics::Target& Metrics::target(std::string_view name) {
  auto found = targets_.find(name);
  if (found != targets_.end()) return found->second;
  Target& added = targets_[std::string(targets_.size() < limits::metrics_methods_max ? name : other)];
  added.owner_ = this;
  return added;
}

ServerMetrics& Metrics::server(std::string_view path) {
  auto found = server_.find(path);
  if (found != server_.end()) return found->second;
  return server_[std::string(server_.size() < limits::metrics_methods_max ? path : other)];
}

MetricsSnapshot Metrics::snapshot() const {
  MetricsSnapshot all;
  for (const auto& [name, target] : targets_)
    for (const auto& [path, counts] : target.methods_) all.client[{name, method_of(path)}].add(counts);
  for (const auto& [path, counts] : server_) all.server[method_of(path)].add(counts);
  for (const MetricsSource* source : sources_) all.channels.push_back(source->report());
  return all;
}

}  // namespace nebula
