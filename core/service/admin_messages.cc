// service/admin_messages.cc - snapshots become protobuf-c's trees; a tree becomes bytes, or JSON by its descriptor.
#include "service/admin_messages.h"

#include <cstdlib>
#include <cstring>

#include "base/assert.h"
#include "nebula/v1/admin.pb-c.h"
#include "rpc/json.h"

namespace nebula {

namespace {

using Response = Nebula__V1__MetricsResponse;
using Metric = Nebula__V1__Metric;
using Point = Nebula__V1__Point;

// A tree is freed by protobuf-c itself, so all of it is malloc's.
struct Free {
  template <class T>
  void operator()(T* message) const {
    protobuf_c_message_free_unpacked(&message->base, nullptr);
  }
};

template <class T>
T* make(void (*init)(T*)) {
  T* message = static_cast<T*>(std::malloc(sizeof(T)));
  NEBULA_ASSERT(message != nullptr);
  init(message);
  return message;
}

template <class T>
T& append(size_t& count, T*& list, T item) {
  list = static_cast<T*>(std::realloc(list, (count + 1) * sizeof(T)));
  NEBULA_ASSERT(list != nullptr);
  return list[count++] = item;
}

char* text_of(std::string_view text) {
  char* copy = ::strndup(text.data() != nullptr ? text.data() : "", text.size());
  NEBULA_ASSERT(copy != nullptr);
  return copy;
}

double seconds(Duration length) { return static_cast<double>(length.ns) / 1e9; }

// ---- metrics

// Whose a point is; what is empty makes no difference.
struct Labels {
  std::string_view target, method, status = {}, node = {};
};

Point& add_point(Metric& metric, const Labels& labels) {
  Point* point = append(metric.n_points, metric.points, make(nebula__v1__point__init));
  point->target = text_of(labels.target);
  point->method = text_of(labels.method);
  point->status = text_of(labels.status);
  point->node = text_of(labels.node);
  return *point;
}

void add_value(Metric& metric, const Labels& labels, uint64_t value) {
  Point& point = add_point(metric, labels);
  point.is_case = NEBULA__V1__POINT__IS_VALUE;
  point.value = value;
}

Nebula__V1__Histogram& add_histogram(Metric& metric, const Labels& labels, uint64_t count, Duration sum) {
  Point& point = add_point(metric, labels);
  point.is_case = NEBULA__V1__POINT__IS_HISTOGRAM;
  point.histogram = make(nebula__v1__histogram__init);
  point.histogram->count = count;
  point.histogram->sum = seconds(sum);
  return *point.histogram;
}

void add_histogram(Metric& metric, const Labels& labels, const Histogram& from) {
  Nebula__V1__Histogram& to = add_histogram(metric, labels, from.count(), from.sum);
  for (uint64_t each : from.counts) append(to.n_buckets, to.buckets, each);
}

void add_durations(Metric& metric, Labels labels, const Durations& durations) {
  for (size_t code = 0; code < durations.by_code.size(); code++) {
    if (durations.by_code[code] == nullptr) continue;
    labels.status = code_name(static_cast<Code>(code));
    add_histogram(metric, labels, *durations.by_code[code]);
  }
}

Metric& add_metric(Response& to, std::string_view name, std::string_view unit) {
  Metric* metric = append(to.n_metrics, to.metrics, make(nebula__v1__metric__init));
  metric->name = text_of(name);
  metric->unit = text_of(unit);
  return *metric;
}

// One value of all that are alike: a metric has a point for each of them.
template <class Counts>
struct ValueOf {
  std::string_view name, unit;
  uint64_t Counts::*value;
};
template <class Counts>
struct DurationsOf {
  std::string_view name;
  Durations Counts::*value;
};

constexpr ValueOf<ClientMetrics> client_values[] = {
    {"nebula.client.call.started", "{call}", &ClientMetrics::calls},
    {"grpc.client.attempt.started", "{attempt}", &ClientMetrics::attempts},
    {"grpc.client.call.retries", "{retry}", &ClientMetrics::retries},
    {"grpc.client.call.transparent_retries", "{transparent_retry}", &ClientMetrics::transparent_retries},
};
constexpr DurationsOf<ClientMetrics> client_durations[] = {
    {"grpc.client.call.duration", &ClientMetrics::call_duration},
    {"grpc.client.attempt.duration", &ClientMetrics::attempt_duration},
};
constexpr ValueOf<NodeMetrics> node_values[] = {
    {"nebula.node.picks", "{pick}", &NodeMetrics::picks},
    {"nebula.node.attempts", "{attempt}", &NodeMetrics::attempts},
    {"nebula.node.failures", "{attempt}", &NodeMetrics::failures},
    {"nebula.node.isolations", "{isolation}", &NodeMetrics::isolations},
    {"grpc.lb.outlier_detection.ejections_enforced", "{ejection}", &NodeMetrics::ejections},
    {"grpc.subchannel.connection_attempts_succeeded", "{attempt}", &NodeMetrics::connects},
    {"grpc.subchannel.connection_attempts_failed", "{attempt}", &NodeMetrics::connect_failures},
    {"grpc.subchannel.disconnections", "{disconnection}", &NodeMetrics::disconnections},
};

// Of each node, whatever the loops that have connections to it.
using Nodes = std::map<std::pair<std::string_view, std::string_view>, NodeMetrics>;

void add_nodes(Response& to, const MetricsSnapshot& all) {
  Nodes nodes;
  for (const ChannelReport& channel : all.channels)
    for (const NodeReport& node : channel.nodes) nodes[{channel.target, node.id}].add(node.counts);
  for (const ValueOf<NodeMetrics>& each : node_values) {
    Metric& metric = add_metric(to, each.name, each.unit);
    for (const auto& [name, counts] : nodes) add_value(metric, {name.first, {}, {}, name.second}, counts.*each.value);
  }
  Metric& open = add_metric(to, "grpc.subchannel.open_connections", "{connection}");
  Metric& connecting = add_metric(to, "nebula.node.connect.duration", "s");
  Metric& latency = add_metric(to, "nebula.node.latency", "s");
  for (const auto& [name, counts] : nodes) {
    Labels labels{name.first, {}, {}, name.second};
    add_value(open, labels, counts.connects - counts.disconnections);
    add_histogram(connecting, labels, counts.connects, counts.connect_time);
    if (counts.latency != nullptr) add_histogram(latency, labels, *counts.latency);
  }
}

std::unique_ptr<Response, Free> metrics_tree(const MetricsSnapshot& all) {
  std::unique_ptr<Response, Free> tree(make(nebula__v1__metrics_response__init));
  for (int64_t bound : Histogram::bounds_us) append(tree->n_bounds, tree->bounds, seconds(us(bound)));
  for (const ValueOf<ClientMetrics>& each : client_values) {
    Metric& metric = add_metric(*tree, each.name, each.unit);
    for (const auto& [name, counts] : all.client) add_value(metric, {name.first, name.second}, counts.*each.value);
  }
  for (const DurationsOf<ClientMetrics>& each : client_durations) {
    Metric& metric = add_metric(*tree, each.name, "s");
    for (const auto& [name, counts] : all.client) add_durations(metric, {name.first, name.second}, counts.*each.value);
  }
  Metric& started = add_metric(*tree, "grpc.server.call.started", "{call}");
  Metric& took = add_metric(*tree, "grpc.server.call.duration", "s");
  for (const auto& [method, counts] : all.server) {
    add_value(started, {{}, method}, counts.calls);
    add_durations(took, {{}, method}, counts.call_duration);
  }
  add_nodes(*tree, all);
  return tree;
}

// ---- channels

std::unique_ptr<Nebula__V1__ChannelsResponse, Free> channels_tree(const MetricsSnapshot& all) {
  std::unique_ptr<Nebula__V1__ChannelsResponse, Free> tree(make(nebula__v1__channels_response__init));
  for (const ChannelReport& from : all.channels) {
    Nebula__V1__Channel& to = *append(tree->n_channels, tree->channels, make(nebula__v1__channel__init));
    to.target = text_of(from.target);
    to.trouble = text_of(from.trouble);
    to.loop = static_cast<uint32_t>(from.loop);
    to.waiting = static_cast<uint32_t>(from.waiting);
    for (const NodeReport& each : from.nodes) {
      Nebula__V1__Node& node = *append(to.n_nodes, to.nodes, make(nebula__v1__node__init));
      node.id = text_of(each.id);
      node.address = text_of(each.address);
      node.zone = text_of(each.zone);
      node.description = text_of(each.description);
      node.state = text_of(each.state);
      node.trouble = text_of(each.trouble);
      node.weight = each.weight;
      node.in_flight = each.inflight;
      node.latency = seconds(each.latency);
      node.picks = each.counts.picks;
      node.attempts = each.counts.attempts;
      node.failures = each.counts.failures;
      node.isolations = each.counts.isolations;
      node.ejections = each.counts.ejections;
      node.connect_time = seconds(each.counts.connect_time_last);
    }
  }
  return tree;
}

// ---- forms

void append_json(const ProtobufCMessage& message, std::string* out);

// Of the types that these messages have.
void append_json(ProtobufCType type, const char* at, std::string* out) {
  char text[32];
  switch (type) {
    case PROTOBUF_C_TYPE_STRING: out->append(json_string(*reinterpret_cast<char* const*>(at))); return;
    case PROTOBUF_C_TYPE_MESSAGE: return append_json(**reinterpret_cast<ProtobufCMessage* const*>(at), out);
    case PROTOBUF_C_TYPE_UINT32: out->append(std::to_string(*reinterpret_cast<const uint32_t*>(at))); return;
    case PROTOBUF_C_TYPE_UINT64: out->append(std::to_string(*reinterpret_cast<const uint64_t*>(at))); return;
    case PROTOBUF_C_TYPE_DOUBLE:
      std::snprintf(text, sizeof text, "%.9g", *reinterpret_cast<const double*>(at));
      out->append(text);
      return;
    default: NEBULA_ASSERT(!"a type that no message here has");
  }
}

size_t size_of(ProtobufCType type) { return type == PROTOBUF_C_TYPE_UINT32 ? 4 : 8; }

// All fields under their names in the .proto, but for empty texts and what of a oneof is not chosen.
void append_json(const ProtobufCMessage& message, std::string* out) {
  const char* base = reinterpret_cast<const char*>(&message);
  char before = '{';
  for (unsigned i = 0; i < message.descriptor->n_fields; i++) {
    const ProtobufCFieldDescriptor& field = message.descriptor->fields[i];
    const char* at = base + field.offset;
    bool is_repeated = field.label == PROTOBUF_C_LABEL_REPEATED;
    bool is_of_oneof = (field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (is_of_oneof && *reinterpret_cast<const uint32_t*>(base + field.quantifier_offset) != field.id) continue;
    if (!is_repeated && field.type == PROTOBUF_C_TYPE_STRING && **reinterpret_cast<char* const*>(at) == 0) continue;
    out->push_back(std::exchange(before, ','));
    out->append(json_string(field.name)).push_back(':');
    if (!is_repeated) {
      append_json(field.type, at, out);
      continue;
    }
    out->push_back('[');
    size_t count = *reinterpret_cast<const size_t*>(base + field.quantifier_offset);
    for (size_t each = 0; each < count; each++) {
      if (each > 0) out->push_back(',');
      append_json(field.type, *reinterpret_cast<const char* const*>(at) + each * size_of(field.type), out);
    }
    out->push_back(']');
  }
  if (before == '{') out->push_back('{');
  out->push_back('}');
}

Bytes packed(const ProtobufCMessage& message, AdminForm form) {
  if (form == AdminForm::json) {
    std::string text;
    append_json(message, &text);
    return Bytes::copy(text);
  }
  Block* block = Block::make(protobuf_c_message_get_packed_size(&message));
  NEBULA_ASSERT(block != nullptr);
  block->set_size(protobuf_c_message_pack(&message, reinterpret_cast<uint8_t*>(block->data())));
  return Bytes::adopt(block);
}

}  // namespace

Bytes metrics_message(const MetricsSnapshot& all, AdminForm form) { return packed(metrics_tree(all)->base, form); }

Bytes channels_message(const MetricsSnapshot& all, AdminForm form) { return packed(channels_tree(all)->base, form); }

Bytes whole_report(const MetricsSnapshot& all) {
  std::string text = "{\"metrics\":";
  append_json(metrics_tree(all)->base, &text);
  text.append(",\"channels\":");
  append_json(channels_tree(all)->base, &text);
  return Bytes::copy(text.append("}"));
}

}  // namespace nebula
