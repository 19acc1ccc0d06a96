/* tests/capi/run_test.c - messages that are sent and delivered together, behind their prefixes. */
#include "kit.h"

enum { CHAT = 31, CHAT_IN_RUNS = 32 };

typedef struct runs {
  world w;
  uint64_t chat, chat_in_runs, held_in_runs;
  uint64_t call, served;
  int calls, events, whole, ended;   /* EV_CALL; MESSAGE of either side, and those that were runs; the client's end */
  int refusals;                      /* calls that the server is still to refuse */
  int messages, bytes;               /* of the last call, with their prefixes */
  char got[4096];                    /* the messages, each with a ';' behind it */
} runs;

/* A run, in a buffer that the next one overwrites. */
static struct { char bytes[4096]; uint32_t size; } run;

static void add(const char *text) {
  size_t size = strlen(text);
  const char prefix[5] = {0, 0, 0, (char)(size >> 8), (char)size};
  memcpy(run.bytes + run.size, prefix, sizeof prefix);
  memcpy(run.bytes + run.size + sizeof prefix, text, size);
  run.size += (uint32_t)(sizeof prefix + size);
}

static void make_run(const char *first, const char *second, const char *third) {
  run.size = 0;
  add(first);
  if (second != NULL) add(second);
  if (third != NULL) add(third);
}

static void note(runs *r, const uint8_t *data, size_t size) {
  r->messages++;
  size_t have = strlen(r->got);
  snprintf(r->got + have, sizeof r->got - have, "%.*s;", (int)size, (const char *)data);
}

static void take_message(runs *r, const nebula_event *event) {
  r->events++;
  r->bytes += (int)event->size;
  r->ended += (event->flags & NEBULA_END) != 0;
  if ((event->flags & NEBULA_RUN) == 0) return note(r, event->data, event->size);
  r->whole++;
  const uint8_t *at = event->data, *end = at + event->size;
  while (at < end) {
    size_t size = (size_t)at[3] << 8 | at[4];
    note(r, at + 5, size);
    at += 5 + size;
  }
  cr_assert(at == end);
}

static void take_call(runs *r, uint64_t call) {
  r->calls++;
  r->events = 0;
  r->got[0] = 0;
  r->served = call;
  if (r->refusals > 0 && r->refusals--) nebula_call_finish(call, NEBULA_UNAVAILABLE, "not yet", NULL, 0);
}

static int runs_turn(runs *r, int timeout_ms) {
  int32_t count = nebula_poll(r->w.queue, timeout_ms);
  const nebula_event *events = nebula_queue_events(r->w.queue);
  for (int32_t i = 0; i < count; i++) {
    if (events[i].kind == NEBULA_EV_MESSAGE) take_message(r, &events[i]);
    else if (events[i].kind == NEBULA_EV_END) r->ended++;
    else if (events[i].kind == NEBULA_EV_CALL) take_call(r, events[i].call);
    else take(&r->w, &events[i]);
  }
  return count;
}

static void runs_until(runs *r, const int *counter, int goal) {
  for (int turns = 0; *counter < goal && turns < 1000; turns++)
    if (runs_turn(r, 1000) == 0 && turns > 10) break;
  cr_assert_geq(*counter, goal, "got %d of %d", *counter, goal);
}

static void make_runs(runs *r, uint32_t compression) {
  memset(r, 0, sizeof *r);
  world *w = &r->w;
  nebula_error error = {0};
  nebula_engine_options options = {sizeof options, 0, "mem:", 0};
  w->engine = nebula_engine_new(&options, &error);
  w->queue = new_queue(w->engine, &error);
  w->server = nebula_server_new(w->engine, NULL, &error);
  cr_assert_eq(nebula_server_method(w->server, "/r/Chat", NEBULA_BIDI, CHAT), 0);
  cr_assert_eq(nebula_server_method(w->server, "/r/ChatInRuns", NEBULA_BIDI | NEBULA_RUNS, CHAT_IN_RUNS), 0);
  cr_assert_eq(nebula_server_method(w->server, "/r/Held", NEBULA_BIDI | NEBULA_RUNS | NEBULA_HOLD, CHAT_IN_RUNS), 0);
  cr_assert_eq(nebula_server_method(w->server, "/r/Unary", NEBULA_UNARY, HANG), 0);
  cr_assert_eq(nebula_server_listen(w->server, "mem:r", NULL, &error), 0);
  cr_assert_eq(nebula_server_start(w->server, &w->queue, 1, &error), 0, "%s", error.message);
  nebula_channel_options channel = {.size = sizeof channel, .compression = compression, .policy = "retry:?tries=3"};
  w->channel = nebula_channel_new(w->engine, "mem:r", &channel, &error);
  cr_assert_not_null(w->channel, "%s", error.message);
  w->hang = nebula_channel_method(w->channel, "/r/Unary", NEBULA_UNARY);
  r->chat = nebula_channel_method(w->channel, "/r/Chat", NEBULA_BIDI);
  r->chat_in_runs = nebula_channel_method(w->channel, "/r/ChatInRuns", NEBULA_BIDI | NEBULA_RUNS);
  r->held_in_runs = nebula_channel_method(w->channel, "/r/Held", NEBULA_BIDI | NEBULA_RUNS);
}

static void begin(runs *r, uint64_t method, uint32_t flags) {
  r->call = nebula_call_start(r->w.queue, method, 7, 0, NULL, 0, NULL, 0, flags);
  cr_assert_neq(r->call, 0);
}

Test(run, arrives_as_one_where_that_is_asked_for_and_else_message_by_message) {
  for (int in_runs = 0; in_runs < 2; in_runs++) {
    runs r;
    make_runs(&r, 0);
    begin(&r, in_runs ? r.chat_in_runs : r.chat, 0);
    make_run("one", "", "three");
    cr_assert_eq(nebula_call_send(r.call, run.bytes, run.size, NEBULA_RUN), NEBULA_OK);
    runs_until(&r, &r.events, in_runs ? 1 : 3);
    cr_assert_str_eq(r.got, "one;;three;");
    cr_assert_eq(nebula_call_send(r.served, run.bytes, run.size, NEBULA_RUN), NEBULA_OK);
    runs_until(&r, &r.events, in_runs ? 2 : 6);
    cr_assert_str_eq(r.got, "one;;three;one;;three;");
    make_run("four", "five", NULL);
    cr_assert_eq(nebula_call_send(r.call, run.bytes, run.size, NEBULA_RUN | NEBULA_END), NEBULA_OK);
    runs_until(&r, &r.ended, 1);
    cr_assert_str_eq(r.got, "one;;three;one;;three;four;five;");
    cr_assert_eq(r.whole, in_runs ? 3 : 0);
    cr_assert_eq(nebula_call_send(r.served, run.bytes, run.size, NEBULA_RUN | NEBULA_END), NEBULA_OK);
    runs_until(&r, &r.w.finished, 1);
    cr_assert_eq(r.w.last.status, NEBULA_OK);
    cr_assert_str_eq(r.got, "one;;three;one;;three;four;five;four;five;");
    free_world(&r.w);
  }
}

Test(run, may_be_given_in_a_buffer_and_be_of_one) {
  runs r;
  make_runs(&r, 0);
  begin(&r, r.chat_in_runs, 0);
  make_run("alone", NULL, NULL);
  nebula_buffer *buffer = nebula_buffer_new(run.size);
  memcpy(nebula_buffer_data(buffer), run.bytes, run.size);
  cr_assert_eq(nebula_call_give(r.call, buffer, NEBULA_RUN), NEBULA_OK);
  make_run("two", "three", NULL);
  buffer = nebula_buffer_new(run.size);
  memcpy(nebula_buffer_data(buffer), run.bytes, run.size);
  cr_assert_eq(nebula_call_give(r.call, buffer, NEBULA_RUN | NEBULA_END), NEBULA_OK);
  runs_until(&r, &r.ended, 1);
  cr_assert_str_eq(r.got, "alone;two;three;");
  free_world(&r.w);
}

Test(run, is_refused_as_a_whole_where_it_is_none) {
  runs r;
  make_runs(&r, 0);
  begin(&r, r.chat, 0);
  make_run("one", "two", NULL);
  for (uint32_t size = 0; size < run.size; size++)
    if (size != 8) cr_assert_eq(nebula_call_send(r.call, run.bytes, size, NEBULA_RUN), NEBULA_E_ARGUMENT, "of %u bytes", size);
  run.bytes[8] = 1; /* would be compressed */
  cr_assert_eq(nebula_call_send(r.call, run.bytes, run.size, NEBULA_RUN), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_call_send(r.call, NULL, 0, NEBULA_RUN), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_call_send(r.call, NULL, 0, NEBULA_RUN | NEBULA_END), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_call_start(r.w.queue, r.chat, 7, 0, NULL, 0, run.bytes, run.size, NEBULA_RUN), 0);
  cr_assert_eq(nebula_call_send(r.call, "end", 3, NEBULA_END), NEBULA_OK);
  runs_until(&r, &r.ended, 1);
  cr_assert_str_eq(r.got, "end;");
  free_world(&r.w);
}

Test(run, of_several_is_no_single_response) {
  runs r;
  make_runs(&r, 0);
  start(&r.w, r.w.hang, "q", 0);
  runs_until(&r, &r.calls, 1);
  make_run("one", "two", NULL);
  cr_assert_eq(nebula_call_send(r.served, run.bytes, run.size, NEBULA_RUN | NEBULA_END), NEBULA_E_STATE);
  make_run("answer", NULL, NULL);
  cr_assert_eq(nebula_call_send(r.served, run.bytes, run.size, NEBULA_RUN | NEBULA_END), NEBULA_OK);
  runs_until(&r, &r.w.finished, 1);
  cr_assert_str_eq(r.w.text, "answer");
  free_world(&r.w);
}

/* Each message for itself, so they do not come as a run. */
Test(run, is_compressed_where_its_call_has_a_compression) {
  runs r;
  make_runs(&r, NEBULA_GZIP);
  begin(&r, r.chat_in_runs, 0);
  char large[1001];
  memset(large, 'm', 1000);
  large[1000] = 0;
  make_run(large, large, "end");
  cr_assert_eq(nebula_call_send(r.call, run.bytes, run.size, NEBULA_RUN | NEBULA_COMPRESS | NEBULA_END), NEBULA_OK);
  runs_until(&r, &r.ended, 1);
  cr_assert_eq(strlen(r.got), 2 * 1001 + 4);
  cr_assert_eq(r.events, 3);
  cr_assert_eq(r.whole, 0);
  free_world(&r.w);
}

Test(run, is_sent_again_with_its_call) {
  runs r;
  make_runs(&r, 0);
  r.refusals = 2;
  begin(&r, r.chat_in_runs, NEBULA_IDEMPOTENT);
  make_run("one", "two", "three");
  cr_assert_eq(nebula_call_send(r.call, run.bytes, run.size, NEBULA_RUN), NEBULA_OK);
  runs_until(&r, &r.calls, 3);
  runs_until(&r, &r.events, 1);
  cr_assert_str_eq(r.got, "one;two;three;");
  free_world(&r.w);
}

/* 256 KiB are handed out; each event counts with its bytes and what it costs. */
Test(run, is_held_like_messages_are) {
  enum { SENT = 200, MESSAGES = SENT * 200, AHEAD = (256 << 10) + (16 << 10) };
  runs r;
  make_runs(&r, 0);
  begin(&r, r.held_in_runs, 0);
  run.size = 0;
  for (int i = 0; i < 200; i++) add("fifteen letters");
  for (int i = 0; i < SENT; i++) cr_assert_geq(nebula_call_send(r.call, run.bytes, run.size, NEBULA_RUN), 0);
  int consumed = 0;
  while (r.messages < MESSAGES) {
    int before = r.bytes;
    runs_until(&r, &r.bytes, before + 1);
    for (int quiet = 0; quiet < 10; quiet++)
      while (runs_turn(&r, QUEUE_MODE == NEBULA_QUEUE_THREADED ? 2 : 0) > 0) quiet = 0;
    cr_assert_leq(r.bytes - consumed, AHEAD);
    cr_assert_eq(nebula_call_consume(r.served, (uint64_t)(r.bytes - consumed)), NEBULA_OK);
    consumed = r.bytes;
  }
  cr_assert_eq(r.messages, MESSAGES);
  free_world(&r.w);
}
