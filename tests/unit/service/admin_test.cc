// unit/service/admin_test.cc - nebula.v1.Admin: who is answered, and that messages say what was counted.
#include "service/admin.h"

#include <criterion/criterion.h>

#include "kit/cluster.h"
#include "nebula/v1/admin.pb-c.h"
#include "service/admin_messages.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

MetricsSnapshot counted() {
  Metrics metrics;
  ClientMetrics& client = metrics.target("hello").method("/hello/greet");
  client.calls = 3;
  client.attempts = 4;
  client.retries = 1;
  client.call_duration.add(Code::unavailable, Histogram::bucket_of(ms(2)), ms(2));
  metrics.server("/hello/greet").calls = 5;
  MetricsSnapshot all = metrics.snapshot();
  for (size_t loop = 0; loop < 2; loop++) {
    ChannelReport channel;
    channel.target = "hello";
    channel.loop = loop;
    NodeReport node;
    node.id = "a";
    node.address = "mem:\"a\"";
    node.state = "usable";
    node.description = "9f86d081884c7d65";
    node.counts.picks = 7;
    node.counts.connects = 2;
    node.counts.disconnections = 1;
    node.counts.connect_time = ms(30);
    node.counts.connect_time_last = ms(10);
    channel.nodes.push_back(std::move(node));
    all.channels.push_back(std::move(channel));
  }
  return all;
}

struct Parsed {
  explicit Parsed(const Bytes& bytes)
      : message(nebula__v1__metrics_response__unpack(nullptr, bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()))) {
    cr_assert_not_null(message);
  }
  ~Parsed() { nebula__v1__metrics_response__free_unpacked(message, nullptr); }

  const Nebula__V1__Metric& metric(std::string_view name) const {
    for (size_t i = 0; i < message->n_metrics; i++)
      if (message->metrics[i]->name == name) return *message->metrics[i];
    cr_assert(false, "there is no %s", std::string(name).c_str());
    abort();
  }

  Nebula__V1__MetricsResponse* message;
};

// A service that a test asks as if it were one of a server, for somebody.
struct Asked {
  Asked(Admin::Access access, std::string address, int64_t uid = -1)
      : admin([](Fn<void(MetricsSnapshot)> then) { then(counted()); }, access) {
    Peer peer;
    peer.address = std::move(address);
    peer.uid = uid;
    call.context.set_peer(std::make_shared<const Peer>(std::move(peer)));
    method = admin.channels_method();
    Request request = call.request();
    request.method = &method;
    admin.call(std::move(request), call.reply());
  }

  Admin admin;
  Method method;
  Call call;
};

}  // namespace

Test(admin, tells_counters_and_histograms_under_the_names_of_grpc) {
  Parsed all(metrics_message(counted(), AdminForm::proto));
  cr_assert_eq(all.message->n_bounds, Histogram::bounds_us.size());
  cr_assert_float_eq(all.message->bounds[1], 0.00001, 1e-12);
  const Nebula__V1__Metric& started = all.metric("grpc.client.attempt.started");
  cr_assert_eq(started.n_points, 1);
  cr_assert_str_eq(started.points[0]->target, "hello");
  cr_assert_str_eq(started.points[0]->method, "hello/greet");
  cr_assert_eq(started.points[0]->is_case, NEBULA__V1__POINT__IS_VALUE);
  cr_assert_eq(started.points[0]->value, 4);

  const Nebula__V1__Metric& took = all.metric("grpc.client.call.duration");
  cr_assert_str_eq(took.unit, "s");
  cr_assert_eq(took.n_points, 1);
  cr_assert_str_eq(took.points[0]->status, "UNAVAILABLE");
  const Nebula__V1__Histogram& histogram = *took.points[0]->histogram;
  cr_assert_eq(histogram.count, 1);
  cr_assert_float_eq(histogram.sum, 0.002, 1e-9);
  cr_assert_eq(histogram.n_buckets, Histogram::size);
  cr_assert_eq(histogram.buckets[Histogram::bucket_of(ms(2))], 1);
  cr_assert_eq(all.metric("grpc.server.call.started").points[0]->value, 5);
}

Test(admin, adds_up_a_node_over_the_loops_that_call_it) {
  Parsed all(metrics_message(counted(), AdminForm::proto));
  const Nebula__V1__Metric& picks = all.metric("nebula.node.picks");
  cr_assert_eq(picks.n_points, 1);
  cr_assert_str_eq(picks.points[0]->node, "a");
  cr_assert_eq(picks.points[0]->value, 14);
  cr_assert_eq(all.metric("grpc.subchannel.open_connections").points[0]->value, 2);
  const Nebula__V1__Histogram& connecting = *all.metric("nebula.node.connect.duration").points[0]->histogram;
  cr_assert_eq(connecting.count, 4);
  cr_assert_float_eq(connecting.sum, 0.06, 1e-9);
  cr_assert_eq(connecting.n_buckets, 0);
}

Test(admin, says_the_same_in_json) {
  std::string text(channels_message(counted(), AdminForm::json).view());
  cr_assert(text.starts_with(R"({"channels":[{"target":"hello","loop":0,"waiting":0,"nodes":[{"id":"a","address":"mem:\"a\"","weight":1,)"),
            "%s", text.c_str());
  cr_assert_neq(text.find(R"("connect_time":0.01,"description":"9f86d081884c7d65"})"), std::string::npos, "%s", text.c_str());
  std::string report(whole_report(counted()).view());
  cr_assert_neq(report.find(R"({"target":"hello","method":"hello/greet","value":4})"), std::string::npos);
  cr_assert_neq(report.find(R"("status":"UNAVAILABLE","histogram":{"count":1,"sum":0.002,"buckets":[0,0,)"), std::string::npos);
  std::string none(channels_message({}, AdminForm::json).view());
  cr_assert_str_eq(none.c_str(), R"({"channels":[]})");
}

Test(admin, answers_this_user_on_this_host_alone) {
  int64_t me = static_cast<int64_t>(geteuid());
  cr_assert_eq(Asked(Admin::Access::local, "unix:", me).call.code(), Code::ok);
  cr_assert_eq(Asked(Admin::Access::local, "unix:", 0).call.code(), Code::ok);
  cr_assert_eq(Asked(Admin::Access::local, "mem:hello").call.code(), Code::ok);
  Asked other(Admin::Access::local, "unix:", me + 1), tcp(Admin::Access::local, "tcp://127.0.0.1:4711");
  cr_assert_eq(other.call.code(), Code::permission_denied);
  cr_assert_eq(tcp.call.code(), Code::permission_denied);
  cr_assert_neq(tcp.call.end().find("NEBULA_ADMIN=open"), std::string::npos, "%s", tcp.call.end().c_str());
  cr_assert_eq(Asked(Admin::Access::open, "tcp://127.0.0.1:4711").call.code(), Code::ok);
}
