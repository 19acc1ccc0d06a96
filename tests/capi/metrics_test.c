/* tests/capi/metrics_test.c - what the engine has counted, asked for on one queue and answered for all. */
#include "kit.h"

typedef struct report {
  int count;
  uint64_t tag;
  char *text;
} report;

static void take_report(report *r, const nebula_event *event) {
  if (event->kind != NEBULA_EV_METRICS) return;
  r->count++;
  r->tag = event->tag;
  free(r->text);
  r->text = strndup((const char *)event->data, event->size);
}

/* Polls until the report has come; what else comes is taken as ever. */
static report report_on(world *w, nebula_engine *engine, nebula_queue *queue) {
  report r = {0, 0, NULL};
  cr_assert_eq(nebula_engine_metrics(engine, queue, 77), 0);
  for (int turns = 0; r.count == 0 && turns < 10; turns++) {
    int32_t count = nebula_poll(queue, 1000);
    const nebula_event *events = nebula_queue_events(queue);
    for (int32_t i = 0; i < count; i++) {
      take_report(&r, &events[i]);
      if (queue == w->queue) take(w, &events[i]);
    }
  }
  cr_assert_eq(r.count, 1);
  cr_assert_eq(r.tag, 77);
  return r;
}

/* The points of one metric, up to the next one. */
static void expect_point(const report *r, const char *metric, const char *point) {
  char name[128];
  snprintf(name, sizeof name, "{\"name\":\"%s\"", metric);
  char *from = strstr(r->text, name);
  cr_assert_not_null(from, "no %s in %s", metric, r->text);
  char *end = strstr(from + 1, "{\"name\":");
  char *points = strndup(from, end != NULL ? (size_t)(end - from) : strlen(from));
  cr_assert_not_null(strstr(points, point), "no %s in %s", point, points);
  free(points);
}

Test(metrics, tells_what_both_sides_have_counted) {
  world w = make_world();
  for (int i = 0; i < 3; i++) call_and_wait(&w, w.echo, "hi");
  call_and_wait(&w, w.fail, "hi");
  call_and_wait(&w, w.missing, "hi");
  report r = report_on(&w, w.engine, w.queue);
  expect_point(&r, "nebula.client.call.started", "{\"target\":\"mem:test\",\"method\":\"test.Echo/Echo\",\"value\":3}");
  expect_point(&r, "grpc.client.attempt.started", "{\"target\":\"mem:test\",\"method\":\"test.Echo/Fail\",\"value\":1}");
  expect_point(&r, "grpc.client.call.retries", "{\"target\":\"mem:test\",\"method\":\"test.Echo/Echo\",\"value\":0}");
  expect_point(&r, "grpc.client.call.duration",
               "{\"target\":\"mem:test\",\"method\":\"test.Echo/Fail\",\"status\":\"ABORTED\",\"histogram\":{\"count\":1,");
  expect_point(&r, "grpc.server.call.started", "{\"method\":\"test.Echo/Echo\",\"value\":3}");
  expect_point(&r, "grpc.server.call.started", "{\"method\":\"other\",\"value\":1}");
  expect_point(&r, "grpc.server.call.duration", "{\"method\":\"test.Echo/Fail\",\"status\":\"ABORTED\",\"histogram\":{\"count\":1,");
  cr_assert_not_null(strstr(r.text, "\"channels\":{\"channels\":[{\"target\":\"mem:test\",\"loop\":"));
  cr_assert_not_null(strstr(r.text, "\"state\":\"usable\""));
  free(r.text);
  free_world(&w);
}

Test(metrics, adds_up_all_queues_and_asks_those_that_nobody_polls) {
  world w = make_world();
  nebula_queue *first = w.queue;
  call_and_wait(&w, w.echo, "hi");
  /* Another queue has a channel of its own to the same target. Each is polled in turn, for the server is on the first. */
  nebula_queue *second = new_queue(w.engine, NULL);
  cr_assert_neq(nebula_call_start(second, w.echo, 7, 10000000, NULL, 0, "hi", 2, NEBULA_END), 0);
  int finished = 0;
  for (int turns = 0; finished == 0 && turns < 10000; turns++) {
    turn(&w, 1);
    int32_t count = nebula_poll(second, 1);
    for (int32_t i = 0; i < count; i++) finished += nebula_queue_events(second)[i].kind == NEBULA_EV_FINISHED;
  }
  cr_assert_eq(finished, 1);
  report r = report_on(&w, w.engine, second);
  expect_point(&r, "nebula.client.call.started", "{\"target\":\"mem:test\",\"method\":\"test.Echo/Echo\",\"value\":2}");
  expect_point(&r, "grpc.server.call.started", "{\"method\":\"test.Echo/Echo\",\"value\":2}");
  free(r.text);
  nebula_queue_free(second);
  /* What a queue has counted goes with it. */
  r = report_on(&w, w.engine, first);
  expect_point(&r, "grpc.server.call.started", "{\"method\":\"test.Echo/Echo\",\"value\":2}");
  free(r.text);
  free_world(&w);
}

Test(metrics, forgets_what_was_asked_by_a_queue_that_is_freed) {
  world w = make_world();
  nebula_queue *asking = new_queue(w.engine, NULL), *other = new_queue(w.engine, NULL);
  cr_assert_eq(nebula_engine_metrics(w.engine, asking, 1), 0);
  nebula_poll(asking, 0);
  nebula_queue_free(asking);
  cr_assert_eq(nebula_engine_metrics(w.engine, other, 1), 0);
  nebula_queue_free(other);
  call_and_wait(&w, w.echo, "hi");
  free_world(&w);
}

Test(metrics, refuses_what_is_wrong) {
  world w = make_world();
  nebula_engine *other = nebula_engine_new(NULL, NULL);
  cr_assert_eq(nebula_engine_metrics(NULL, w.queue, 1), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_engine_metrics(w.engine, NULL, 1), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_engine_metrics(other, w.queue, 1), NEBULA_E_ARGUMENT);
  nebula_engine_free(other);
  free_world(&w);
}

/* ---- nebula.v1.Admin */

static void ask_admin(world *w, const char *path) {
  uint64_t method = nebula_channel_method(w->channel, path, NEBULA_UNARY);
  int before = w->finished;
  cr_assert_neq(nebula_call_start(w->queue, method, 7, 10000000, NULL, 0, "{}", 2, NEBULA_END | NEBULA_JSON), 0);
  turn_until(w, &w->finished, before + 1);
}

Test(metrics, are_told_by_the_admin_service_within_the_process_and_over_a_unix_socket) {
  char path[64], address[80];
  snprintf(path, sizeof path, "/tmp/nebula-admin-%d.sock", getpid());
  snprintf(address, sizeof address, "unix:%s", path);
  const char *addresses[] = {"mem:admin", address};
  for (int i = 0; i < 2; i++) {
    world w = make_world_at("mem:", addresses[i], addresses[i]);
    ask_admin(&w, "/nebula.v1.Admin/Metrics");
    cr_assert_eq(w.last.status, 0, "%s", w.text);
    cr_assert(has_text(&w, "{\"bounds\":[0,1e-05,"), "%s", w.text);
    ask_admin(&w, "/nebula.v1.Admin/Channels");
    cr_assert_eq(w.last.status, 0, "%s", w.text);
    cr_assert(has_text(&w, "{\"channels\":[{\"target\":\""), "%s", w.text);
    free_world(&w);
  }
}

Test(metrics, are_told_to_nobody_else_unless_they_were_opened) {
  char urls[256];
  for (int is_open = 0; is_open < 2; is_open++) {
    if (is_open) setenv("NEBULA_ADMIN", "open", 1);
    world w = make_world_at("mem:", "tcp://127.0.0.1:0", "mem:nobody");
    nebula_server_urls(w.server, urls, sizeof urls);
    nebula_channel_free(w.channel);
    w.channel = nebula_channel_new(w.engine, urls, NULL, NULL);
    ask_admin(&w, "/nebula.v1.Admin/Metrics");
    cr_assert_eq(w.last.status, is_open ? 0 : NEBULA_PERMISSION_DENIED, "%s", w.text);
    if (!is_open) cr_assert(has_text(&w, "NEBULA_ADMIN=open"), "%s", w.text);
    free_world(&w);
  }
  unsetenv("NEBULA_ADMIN");
}

Test(metrics, can_be_switched_off_and_a_slip_is_an_error) {
  nebula_error error = {0};
  setenv("NEBULA_ADMIN", "opne", 1);
  cr_assert_null(nebula_engine_new(NULL, &error));
  cr_assert_eq(error.code, NEBULA_E_ARGUMENT);
  cr_assert_not_null(strstr(error.message, "\"opne\""), "%s", error.message);
  setenv("NEBULA_ADMIN", "off", 1);
  world w = make_world();
  ask_admin(&w, "/nebula.v1.Admin/Metrics");
  cr_assert_eq(w.last.status, NEBULA_UNIMPLEMENTED, "%s", w.text);
  free_world(&w);
  unsetenv("NEBULA_ADMIN");
}
