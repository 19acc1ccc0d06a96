/* tests/capi/queues_test.c - one server on several queues. */
#include <unistd.h>

#include "kit.h"

enum { QUEUES = 4, CHANNELS = 64 };

typedef struct group {
  nebula_engine *engine;
  nebula_queue *queues[QUEUES];
  nebula_server *server;
  nebula_queue *callers; /* the queue of those who call */
  nebula_channel *channels[CHANNELS];
  int channel_count;
  char urls[512];
  world seen[QUEUES]; /* what each queue has brought */
  world called;
} group;

static group make_group_with(const char *registry, const char *listen, uint32_t spread) {
  group g;
  memset(&g, 0, sizeof g);
  nebula_error error = {0};
  nebula_engine_options options = {sizeof options, 0, registry, 0};
  g.engine = nebula_engine_new(&options, &error);
  cr_assert_not_null(g.engine, "%s", error.message);
  for (int i = 0; i < QUEUES; i++) g.seen[i].queue = g.queues[i] = new_queue(g.engine, NULL);
  g.called.queue = g.callers = new_queue(g.engine, NULL);
  nebula_server_options of_server = {.size = sizeof of_server, .spread = spread};
  g.server = nebula_server_new(g.engine, &of_server, &error);
  cr_assert_not_null(g.server, "%s", error.message);
  cr_assert_eq(nebula_server_method(g.server, "/test.Echo/Echo", NEBULA_UNARY, ECHO), 0);
  cr_assert_eq(nebula_server_method(g.server, "/test.Echo/Hang", NEBULA_UNARY, HANG), 0);
  cr_assert_eq(nebula_server_listen(g.server, listen, NULL, &error), 0, "%s", error.message);
  cr_assert_eq(nebula_server_start(g.server, g.queues, QUEUES, &error), 0, "%s", error.message);
  nebula_server_urls(g.server, g.urls, sizeof g.urls);
  return g;
}

static group make_group_at(const char *registry, const char *listen) {
  return make_group_with(registry, listen, NEBULA_SPREAD_CALL);
}

static group make_group(const char *listen) { return make_group_at("mem:", listen); }

static void free_group(group *g) {
  for (int i = 0; i < g->channel_count; i++) nebula_channel_free(g->channels[i]);
  nebula_server_free(g->server);
  for (int i = 0; i < QUEUES; i++) nebula_queue_free(g->queues[i]);
  nebula_queue_free(g->callers);
  nebula_engine_free(g->engine);
}

static void turn_all(group *g) {
  for (int i = 0; i < QUEUES; i++) turn(&g->seen[i], 0);
  turn(&g->called, 1);
}

static void turn_all_until(group *g, const int *counter, int goal) {
  for (int turns = 0; *counter < goal && turns < 10000; turns++) turn_all(g);
  cr_assert_eq(*counter, goal, "%d of %d: %s", *counter, goal, g->called.text);
}

/* One connection of its own for each. */
static void call_on_new_channels(group *g, const char *target, const char *path, int count) {
  int before = g->called.finished;
  for (int i = 0; i < count; i++) {
    nebula_channel *channel = g->channels[g->channel_count++] = nebula_channel_new(g->engine, target, NULL, NULL);
    start(&g->called, nebula_channel_method(channel, path, NEBULA_UNARY), "ask", 10000000);
  }
  turn_all_until(g, &g->called.finished, before + count);
  cr_assert_eq(g->called.last.status, NEBULA_OK, "%s", g->called.text);
}

static int served(const group *g) {
  int sum = 0;
  for (int i = 0; i < QUEUES; i++) sum += g->seen[i].served;
  return sum;
}

static void expect_shares(const group *g, int total, int least) {
  for (int i = 0; i < QUEUES; i++)
    cr_assert_geq(g->seen[i].served, least, "queue %d has %d of %d", i, g->seen[i].served, total);
  cr_assert_eq(served(g), total);
}

Test(queues, connections_of_a_port_come_to_all_of_them) {
  group g = make_group("tcp://127.0.0.1:0");
  cr_assert_null(strstr(g.urls, "share"), "%s", g.urls);
  call_on_new_channels(&g, g.urls, "/test.Echo/Echo", CHANNELS);
  expect_shares(&g, CHANNELS, 1); /* by chance one in 10^7 runs has a queue without */
  free_group(&g);
}

Test(queues, the_port_of_several_is_taken_for_others) {
  group g = make_group("tcp://127.0.0.1:0");
  nebula_error error = {0};
  nebula_server *second = nebula_server_new(g.engine, NULL, NULL);
  nebula_server_method(second, "/a/B", NEBULA_UNARY, 1);
  cr_assert_eq(nebula_server_listen(second, g.urls, NULL, &error), 0);
  cr_assert_eq(nebula_server_start(second, g.queues, 2, &error), NEBULA_E_ADDRESS);
  nebula_server_free(second);
  free_group(&g);
}

Test(queues, a_name_in_memory_is_served_in_turn) {
  group g = make_group("mem:group");
  call_on_new_channels(&g, "mem:group", "/test.Echo/Echo", 2 * QUEUES);
  expect_shares(&g, 2 * QUEUES, QUEUE_MODE == NEBULA_QUEUE_INLINE ? 2 : 0);
  free_group(&g);
}

Test(queues, a_unix_socket_is_polled_by_all) {
  char directory[] = "/tmp/nebXXXXXX", listen[64];
  cr_assert_not_null(mkdtemp(directory));
  snprintf(listen, sizeof listen, "unix:%s/s", directory);
  group g = make_group(listen);
  cr_assert_str_eq(g.urls, listen);
  call_on_new_channels(&g, listen, "/test.Echo/Echo", QUEUES);
  expect_shares(&g, QUEUES, 0);
  free_group(&g);
  cr_assert_neq(access(listen + 5, F_OK), 0, "the socket's file has gone");
  cr_assert_eq(rmdir(directory), 0);
}

Test(queues, they_are_found_by_one_name) {
  char directory[] = "/tmp/nebXXXXXX", registry[64], command[64];
  cr_assert_not_null(mkdtemp(directory));
  snprintf(registry, sizeof registry, "host:?dir=%s", directory);
  group g = make_group_at(registry, NULL);
  call_on_new_channels(&g, "nebula:", "/test.Echo/Echo", 3);
  expect_shares(&g, 3, 0);
  free_group(&g);
  snprintf(command, sizeof command, "rm -rf '%s'", directory);
  cr_assert_eq(system(command), 0);
}

Test(queues, get_the_calls_of_one_connection_by_the_fewest_open) {
  group g = make_group("mem:group");
  nebula_channel *channel = g.channels[g.channel_count++] = nebula_channel_new(g.engine, "mem:group", NULL, NULL);
  uint64_t hang = nebula_channel_method(channel, "/test.Echo/Hang", NEBULA_UNARY);
  for (int i = 0; i < 3 * QUEUES; i++) start(&g.called, hang, "ask", 0);
  for (int turns = 0; turns < 10000 && served(&g) < 3 * QUEUES; turns++) turn_all(&g);
  expect_shares(&g, 3 * QUEUES, QUEUE_MODE == NEBULA_QUEUE_THREADED ? 3 : 0);
  free_group(&g);
}

/* The one that got the calls of this connection, in their order. */
static int queue_of_connection(group *g, int count) {
  nebula_channel *channel = g->channels[g->channel_count++] = nebula_channel_new(g->engine, "mem:group", NULL, NULL);
  uint64_t hang = nebula_channel_method(channel, "/test.Echo/Hang", NEBULA_UNARY);
  char text[16], expected[16];
  for (int i = 0; i < count; i++) {
    snprintf(text, sizeof text, "%d", i);
    start(&g->called, hang, text, 0);
  }
  int came = 0, chosen = -1;
  for (int turns = 0; turns < 10000 && came < count; turns++) {
    turn(&g->called, 1);
    for (int i = 0; i < QUEUES; i++) {
      int32_t ready = nebula_poll(g->queues[i], 0);
      const nebula_event *events = nebula_queue_events(g->queues[i]);
      for (int32_t e = 0; e < ready; e++) {
        cr_assert_eq(events[e].kind, NEBULA_EV_CALL);
        if (chosen < 0) chosen = i;
        cr_assert_eq(i, chosen, "call %d came to queue %d, the first to %d", came, i, chosen);
        snprintf(expected, sizeof expected, "%d", came++);
        cr_assert(events[e].size == strlen(expected) && memcmp(events[e].data, expected, events[e].size) == 0);
      }
    }
  }
  cr_assert_eq(came, count);
  return chosen;
}

Test(queues, keep_the_order_of_a_connection_where_that_is_wanted) {
  group g = make_group_with("mem:", "mem:group", NEBULA_SPREAD_CONNECTION);
  int has_one[QUEUES] = {0};
  for (int i = 0; i < CHANNELS; i++) has_one[queue_of_connection(&g, 20)]++;
  for (int i = 0; i < QUEUES; i++) cr_assert_geq(has_one[i], CHANNELS / QUEUES / 2, "queue %d has %d", i, has_one[i]);
  free_group(&g);
}

Test(queues, health_is_that_of_the_server) {
  group g = make_group("mem:group");
  cr_assert_eq(nebula_server_health(g.server, "", 2), 0);
  for (int i = 0; i < QUEUES; i++) {
    nebula_channel *channel = g.channels[g.channel_count++] = nebula_channel_new(g.engine, "mem:group", NULL, NULL);
    uint64_t check = nebula_channel_method(channel, "/grpc.health.v1.Health/Check", NEBULA_UNARY);
    nebula_call_start(g.callers, check, 7, 0, NULL, 0, "", 0, NEBULA_END);
    turn_all_until(&g, &g.called.finished, i + 1);
    cr_assert_str_eq(g.called.text, "\x08\x02", "NOT_SERVING at each of them");
  }
  free_group(&g);
}

Test(queues, a_drain_ends_when_the_last_has_drained) {
  group g = make_group("mem:group");
  for (int i = 0; i < QUEUES; i++) {
    nebula_channel *channel = g.channels[g.channel_count++] = nebula_channel_new(g.engine, "mem:group", NULL, NULL);
    start(&g.called, nebula_channel_method(channel, "/test.Echo/Hang", NEBULA_UNARY), "ask", 0);
    for (int turns = 0; turns < 10000 && served(&g) <= i; turns++) turn_all(&g);
  }
  expect_shares(&g, QUEUES, 1);
  cr_assert_eq(nebula_server_drain(g.server, 10000, 9), 0);
  for (int i = QUEUES - 1; i >= 0; i--) {
    for (int turns = 0; turns < 20; turns++) turn_all(&g);
    cr_assert_eq(g.seen[0].drained, 0);
    cr_assert_eq(nebula_call_send(g.seen[i].hung_call, "done", 4, NEBULA_END), 0);
  }
  turn_all_until(&g, &g.seen[0].drained, 1);
  turn_all_until(&g, &g.called.finished, QUEUES);
  for (int turns = 0; turns < 20; turns++) turn_all(&g);
  for (int i = 0; i < QUEUES; i++) cr_assert_eq(g.seen[i].drained, i == 0);
  free_group(&g);
}

Test(queues, a_server_may_go_in_the_middle_of_a_drain) {
  group g = make_group("mem:group");
  call_on_new_channels(&g, "mem:group", "/test.Echo/Echo", QUEUES);
  start(&g.called, nebula_channel_method(g.channels[1], "/test.Echo/Hang", NEBULA_UNARY), "ask", 0);
  for (int turns = 0; turns < 20; turns++) turn_all(&g);
  cr_assert_eq(nebula_server_drain(g.server, 10000, 9), 0);
  cr_assert_eq(nebula_server_health(g.server, "test.Echo", 2), 0);
  turn(&g.seen[2], 0);
  nebula_server_free(g.server);
  g.server = NULL;
  turn_all_until(&g, &g.called.finished, QUEUES + 1);
  cr_assert_eq(g.called.last.status, NEBULA_UNAVAILABLE);
  free_group(&g);
}

Test(queues, may_go_while_their_calls_are_open) {
  enum { CALLS = 3 * QUEUES };
  group g = make_group("mem:group");
  nebula_channel *channel = g.channels[g.channel_count++] = nebula_channel_new(g.engine, "mem:group", NULL, NULL);
  uint64_t hang = nebula_channel_method(channel, "/test.Echo/Hang", NEBULA_UNARY);
  world leaving;
  memset(&leaving, 0, sizeof leaving);
  leaving.queue = new_queue(g.engine, NULL);
  for (int i = 0; i < CALLS; i++) start(&leaving, hang, "ask", 0);
  for (int turns = 0; turns < 10000 && served(&g) < CALLS; turns++) {
    turn(&leaving, 0);
    turn_all(&g);
  }
  expect_shares(&g, CALLS, 0);
  nebula_queue_free(leaving.queue);
  cr_assert_eq(leaving.finished, 0);
  int cancelled = 0;
  for (int turns = 0; turns < 10000 && cancelled < CALLS; turns++) {
    turn_all(&g);
    cancelled = 0;
    for (int i = 0; i < QUEUES; i++) cancelled += g.seen[i].cancelled;
  }
  cr_assert_eq(cancelled, CALLS, "the server has heard of %d", cancelled);
  start(&g.called, nebula_channel_method(channel, "/test.Echo/Echo", NEBULA_UNARY), "others go on", 10000000);
  turn_all_until(&g, &g.called.finished, 1);
  cr_assert_eq(g.called.last.status, NEBULA_OK, "%s", g.called.text);
  free_group(&g);
}

Test(queues, of_both_modes_are_refused) {
  group g = make_group("mem:group");
  nebula_error error = {0};
  nebula_queue_options options = {.size = sizeof options, .mode = 1 - QUEUE_MODE};
  nebula_queue *odd = nebula_queue_new(g.engine, &options, &error);
  cr_assert_not_null(odd, "%s", error.message);
  nebula_server *server = nebula_server_new(g.engine, NULL, NULL);
  cr_assert_eq(nebula_server_listen(server, "mem:other", NULL, NULL), 0);
  nebula_queue *mixed[] = {g.queues[0], odd};
  cr_assert_eq(nebula_server_start(server, mixed, 2, &error), NEBULA_E_ARGUMENT);
  cr_assert_str_eq(error.message, "start: the queues must be all inline or all threaded");
  cr_assert_eq(nebula_server_start(server, &odd, 1, &error), 0, "one of them will do: %s", error.message);
  nebula_server_free(server);
  nebula_queue_free(odd);
  free_group(&g);
}

Test(queues, wrong_ones_are_refused) {
  group g = make_group("mem:group");
  nebula_error error = {0};
  nebula_server_options unknown = {.size = sizeof unknown, .spread = 2};
  cr_assert_null(nebula_server_new(g.engine, &unknown, &error));
  cr_assert(strstr(error.message, "spread is NEBULA_SPREAD_CALL") != NULL, "%s", error.message);
  nebula_server *other = nebula_server_new(g.engine, NULL, NULL);
  cr_assert_eq(nebula_server_listen(other, "mem:other", NULL, NULL), 0);
  nebula_queue *twice[] = {g.queues[0], g.queues[1], g.queues[0]}, *none[] = {g.queues[0], NULL};
  cr_assert_eq(nebula_server_start(other, twice, 3, &error), NEBULA_E_ARGUMENT);
  cr_assert(strstr(error.message, "twice") != NULL, "%s", error.message);
  cr_assert_eq(nebula_server_start(other, none, 2, NULL), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_server_start(other, g.queues, 0, NULL), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_server_start(other, g.queues, 2, NULL), 0);
  nebula_server_free(other);
  free_group(&g);
}
