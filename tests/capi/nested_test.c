/* tests/capi/nested_test.c - calls that are made for another one share the retries that its caller leaves to it. */
#include "kit.h"

enum { OUTER = 10, INNER = 11 };

/* OUTER calls INNER, which fails, and ends as that does. All that is idempotent, with the default policy. */
typedef struct nest {
  world w;
  nebula_server *server;
  nebula_channel *channel;
  uint64_t outer, inner;
  int names_parent;         /* whether OUTER does so */
  int fails_alone;          /* OUTER does, though INNER succeeds in the end */
  int inner_failures;       /* to come */
  const char *trailers;     /* of OUTER; NULL: none */
  uint32_t trailers_size;
  int outer_calls, inner_calls, ended;
  int32_t status;           /* as the caller of OUTER has it */
  char pushback[16];
} nest;

static nest make_nest(void) {
  nest n;
  memset(&n, 0, sizeof n);
  n.w = make_world();
  n.names_parent = 1;
  n.inner_failures = 1000;
  nebula_error error;
  n.server = nebula_server_new(n.w.engine, NULL, &error);
  cr_assert_not_null(n.server, "%s", error.message);
  cr_assert_eq(nebula_server_method(n.server, "/test.Nest/Outer", NEBULA_UNARY, OUTER), 0);
  cr_assert_eq(nebula_server_method(n.server, "/test.Nest/Inner", NEBULA_UNARY, INNER), 0);
  cr_assert_eq(nebula_server_listen(n.server, "mem:nest", NULL, &error), 0, "%s", error.message);
  cr_assert_eq(nebula_server_start(n.server, &n.w.queue, 1, &error), 0, "%s", error.message);
  n.channel = nebula_channel_new(n.w.engine, "mem:nest", NULL, &error);
  cr_assert_not_null(n.channel, "%s", error.message);
  n.outer = nebula_channel_method(n.channel, "/test.Nest/Outer", NEBULA_UNARY);
  n.inner = nebula_channel_method(n.channel, "/test.Nest/Inner", NEBULA_UNARY);
  return n;
}

static void free_nest(nest *n) {
  nebula_channel_free(n->channel);
  nebula_server_free(n->server);
  free_world(&n->w);
}

static void note_pushback(nest *n, const nebula_event *event) {
  static const char name[] = "grpc-retry-pushback-ms";
  for (uint32_t at = 0; at < event->metadata_size;) {
    uint32_t sizes[2];
    memcpy(sizes, event->metadata + at, sizeof sizes);
    const char *field = (const char *)event->metadata + at + sizeof sizes;
    if (sizes[0] == sizeof name - 1 && memcmp(field, name, sizes[0]) == 0)
      snprintf(n->pushback, sizeof n->pushback, "%.*s", (int)sizes[1], field + sizes[0]);
    at += sizeof sizes + sizes[0] + sizes[1];
  }
}

/* The tag of a call to INNER is the call to OUTER that waits for it; that of its caller is 0. */
static void take_nested(nest *n, const nebula_event *event) {
  if (event->kind == NEBULA_EV_CALL && event->tag == OUTER) {
    n->outer_calls++;
    uint64_t parent = n->names_parent ? event->call : 0;
    cr_assert_neq(nebula_call_start_under(n->w.queue, n->inner, event->call, 0, NULL, 0, "x", 1,
                                          NEBULA_END | NEBULA_IDEMPOTENT, parent), 0);
  } else if (event->kind == NEBULA_EV_CALL && event->tag == INNER) {
    n->inner_calls++;
    int32_t status = n->inner_failures-- > 0 ? NEBULA_UNAVAILABLE : NEBULA_OK;
    if (status == NEBULA_OK) cr_assert_eq(nebula_call_send(event->call, "y", 1, NEBULA_END), 0);
    else cr_assert_eq(nebula_call_finish(event->call, status, "not now", NULL, 0), 0);
  } else if (event->kind == NEBULA_EV_FINISHED && event->tag != 0) {
    int32_t status = n->fails_alone ? NEBULA_UNAVAILABLE : event->status;
    if (status == NEBULA_OK) cr_assert_eq(nebula_call_send(event->tag, "z", 1, NEBULA_END), 0);
    else cr_assert_eq(nebula_call_finish(event->tag, status, "nor here", n->trailers, n->trailers_size), 0);
  } else if (event->kind == NEBULA_EV_FINISHED) {
    n->ended++;
    n->status = event->status;
    note_pushback(n, event);
  }
}

static void call_outer(nest *n) {
  cr_assert_neq(nebula_call_start(n->w.queue, n->outer, 0, 0, NULL, 0, "x", 1, NEBULA_END | NEBULA_IDEMPOTENT), 0);
  for (int turns = 0; n->ended == 0 && turns < 10000; turns++) {
    int32_t count = nebula_poll(n->w.queue, 1000);
    cr_assert_geq(count, 0, "poll: %s", nebula_strerror(count));
    for (int32_t i = 0; i < count; i++) take_nested(n, &nebula_queue_events(n->w.queue)[i]);
  }
  cr_assert_eq(n->ended, 1);
}

Test(nested, calls_are_tried_three_times_and_what_they_are_made_for_once) {
  nest n = make_nest();
  call_outer(&n);
  cr_assert_eq(n.status, NEBULA_UNAVAILABLE);
  cr_assert_eq(n.inner_calls, 3);
  cr_assert_eq(n.outer_calls, 1);
  cr_assert_str_eq(n.pushback, "-1");
  free_nest(&n);
}

Test(nested, calls_that_name_no_parent_multiply) {
  nest n = make_nest();
  n.names_parent = 0;
  call_outer(&n);
  cr_assert_eq(n.outer_calls, 3);
  cr_assert_eq(n.inner_calls, 9);
  cr_assert_str_eq(n.pushback, "");
  free_nest(&n);
}

Test(nested, calls_leave_the_last_word_to_their_handler) {
  nest n = make_nest();
  n.trailers = "\x16\0\0\0\x01\0\0\0grpc-retry-pushback-ms0";
  n.trailers_size = 8 + 22 + 1;
  call_outer(&n);
  cr_assert_eq(n.outer_calls, 3);
  cr_assert_eq(n.inner_calls, 3 + 2 + 1, "as many as were left each time: %d", n.inner_calls);
  cr_assert_str_eq(n.pushback, "0");
  free_nest(&n);
}

Test(nested, calls_that_succeed_in_the_end_say_nothing) {
  for (int fails_alone = 0; fails_alone < 2; fails_alone++) {
    nest n = make_nest();
    n.inner_failures = 2;
    n.fails_alone = fails_alone;
    call_outer(&n);
    cr_assert_eq(n.status, fails_alone ? NEBULA_UNAVAILABLE : NEBULA_OK);
    cr_assert_eq(n.outer_calls, fails_alone ? 3 : 1);
    cr_assert_str_eq(n.pushback, "");
    free_nest(&n);
  }
}

Test(nested, calls_of_no_call_are_calls_like_others) {
  world w = make_world();
  uint64_t client = start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  cr_assert_eq(nebula_call_send(w.hung_call, "y", 1, NEBULA_END), 0);
  turn_until(&w, &w.finished, 1);
  uint64_t running = start(&w, w.hang, "x", 0);
  uint64_t parents[] = {0, 1, UINT64_MAX, w.hung_call, client, running, w.echo};
  for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
    int before = w.finished;
    cr_assert_neq(nebula_call_start_under(w.queue, w.echo, 7, 0, NULL, 0, "hi", 2, NEBULA_END | NEBULA_IDEMPOTENT, parents[i]), 0);
    turn_until(&w, &w.finished, before + 1);
    cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  }
  cr_assert_eq(nebula_call_start_under(NULL, w.echo, 7, 0, NULL, 0, "hi", 2, NEBULA_END, 0), 0);
  cr_assert_eq(nebula_call_start_under(w.queue, w.echo, 7, 0, NULL, 0, "hi", 2, NEBULA_END | NEBULA_JSON | NEBULA_PROTO, 0), 0);
  cr_assert_eq(nebula_call_start_under(w.queue, 0, 7, 0, NULL, 0, "hi", 2, NEBULA_END, 0), 0);
  free_world(&w);
}

Test(nested, metadata_of_the_engine_is_nobodys_to_set) {
  world w = make_world();
  static const char own[] = "\x13\0\0\0\x01\0\0\0nebula-retries-left9";
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, own, sizeof own - 1, "m", 1, NEBULA_END), 0);
  start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  cr_assert_eq(nebula_call_finish(w.hung_call, NEBULA_ABORTED, "", own, sizeof own - 1), NEBULA_E_ARGUMENT);
  free_world(&w);
}
