/* capi/message_test.c - nebula_protobuf_c.h: messages of protobuf-c on calls, and what is none. */
#include <nebula_protobuf_c.h>

#include "bench/echo.pb-c.h"
#include "kit.h"

#define VALUE (&bench__value__descriptor)

enum { VALUES = 10, OUTER = 3, INNER = 4 }; /* tags */

typedef struct talk {
  nebula_engine *engine;
  nebula_queue *queue;
  nebula_server *server;
  nebula_channel *channel;
  uint64_t unary, stream;
  nebula_event last; /* FINISHED, with its text */
  char text[256];
  Bench__Value *answer; /* the last one that came */
  int answers, finished;
  uint64_t outer, inner; /* OUTER calls INNER, and ends as that does */
  int failures;
} talk;

static Bench__Value value_of(const char *bytes, size_t size) {
  Bench__Value value = BENCH__VALUE__INIT;
  value.value.data = (uint8_t *)bytes;
  value.value.len = size;
  return value;
}

static void keep(talk *t, const nebula_event *event) {
  Bench__Value *answer = (Bench__Value *)nebula_message_of(event, VALUE);
  if (answer == NULL) return;
  nebula_message_free((ProtobufCMessage *)t->answer);
  t->answer = answer;
  t->answers++;
}

static void echo(const nebula_event *event, uint32_t flags) {
  ProtobufCMessage *request = nebula_message_request(event, VALUE);
  if (request == NULL) return;
  cr_assert_geq(nebula_message_send(event->call, request, flags), 0);
  nebula_message_free(request);
}

/* Tags above those of the talk are calls to OUTER that wait for their call to INNER. */
static int hear_nested(talk *t, const nebula_event *event) {
  if (event->kind == NEBULA_EV_CALL && event->tag == OUTER) {
    Bench__Value value = value_of("x", 1);
    cr_assert_neq(nebula_message_start_under(t->queue, t->inner, event->call, 0, NULL, 0, &value.base,
                                             NEBULA_END | NEBULA_IDEMPOTENT, event->call), 0);
  } else if (event->kind == NEBULA_EV_CALL && event->tag == INNER) {
    t->failures++;
    nebula_call_finish(event->call, NEBULA_UNAVAILABLE, "not now", NULL, 0);
  } else if (event->kind == NEBULA_EV_FINISHED && event->tag > VALUES) {
    nebula_call_finish(event->tag, event->status, "nor here", NULL, 0);
  } else {
    return 0;
  }
  return 1;
}

static void hear(talk *t, const nebula_event *event) {
  if (hear_nested(t, event)) return;
  const int is_ours = event->tag == VALUES;
  if (event->kind == NEBULA_EV_CALL && event->data != NULL) echo(event, NEBULA_END);
  if (event->kind == NEBULA_EV_CALL && event->data == NULL) nebula_message_speaks_protobuf(event);
  if (event->kind == NEBULA_EV_MESSAGE && is_ours) keep(t, event);
  if (event->kind == NEBULA_EV_MESSAGE && !is_ours) echo(event, event->flags & NEBULA_END);
  if (event->kind == NEBULA_EV_END) nebula_call_finish(event->call, NEBULA_OK, NULL, NULL, 0);
  if (event->kind != NEBULA_EV_FINISHED) return;
  t->finished++;
  t->last = *event;
  snprintf(t->text, sizeof t->text, "%.*s", (int)event->size, event->data != NULL ? (const char *)event->data : "");
  if (event->status == NEBULA_OK) keep(t, event);
}

static void until(talk *t, const int *counter, int goal) {
  for (int turns = 0; *counter < goal && turns < 1000; turns++) {
    int32_t count = nebula_poll(t->queue, 1000);
    const nebula_event *events = nebula_queue_events(t->queue);
    for (int32_t i = 0; i < count; i++) hear(t, &events[i]);
  }
  cr_assert_geq(*counter, goal);
}

static talk begin(void) {
  talk t;
  memset(&t, 0, sizeof t);
  nebula_error error = {0};
  nebula_engine_options options = {sizeof options, 0, "mem:", 0};
  cr_assert_not_null(t.engine = nebula_engine_new(&options, &error));
  cr_assert_not_null(t.queue = new_queue(t.engine, &error));
  cr_assert_not_null(t.server = nebula_server_new(t.engine, NULL, &error));
  nebula_server_method(t.server, "/bench.Echo/Unary", NEBULA_UNARY, 1);
  nebula_server_method(t.server, "/bench.Echo/Stream", NEBULA_BIDI, 2);
  nebula_server_method(t.server, "/bench.Echo/Outer", NEBULA_UNARY, OUTER);
  nebula_server_method(t.server, "/bench.Echo/Inner", NEBULA_UNARY, INNER);
  cr_assert_eq(nebula_server_listen(t.server, "mem:values", NULL, &error), 0, "%s", error.message);
  cr_assert_eq(nebula_server_start(t.server, &t.queue, 1, &error), 0, "%s", error.message);
  cr_assert_not_null(t.channel = nebula_channel_new(t.engine, "mem:values", NULL, &error));
  t.unary = nebula_channel_method(t.channel, "/bench.Echo/Unary", NEBULA_UNARY);
  t.stream = nebula_channel_method(t.channel, "/bench.Echo/Stream", NEBULA_BIDI);
  t.outer = nebula_channel_method(t.channel, "/bench.Echo/Outer", NEBULA_UNARY);
  t.inner = nebula_channel_method(t.channel, "/bench.Echo/Inner", NEBULA_UNARY);
  return t;
}

static void end(talk *t) {
  nebula_message_free((ProtobufCMessage *)t->answer);
  nebula_channel_free(t->channel);
  nebula_server_free(t->server);
  nebula_queue_free(t->queue);
  nebula_engine_free(t->engine);
}

Test(message, goes_there_and_back) {
  talk t = begin();
  Bench__Value hello = value_of("hello", 5);
  cr_assert_neq(nebula_message_start(t.queue, t.unary, VALUES, 0, NULL, 0, &hello.base, NEBULA_END), 0);
  until(&t, &t.finished, 1);
  cr_assert_eq(t.last.status, NEBULA_OK, "%s", t.text);
  cr_assert_eq(t.answer->value.len, 5);
  cr_assert_arr_eq(t.answer->value.data, "hello", 5);
  Bench__Value empty = BENCH__VALUE__INIT; /* of no bytes at all, and yet a message */
  cr_assert_neq(nebula_message_start(t.queue, t.unary, VALUES, 0, NULL, 0, &empty.base, NEBULA_END), 0);
  until(&t, &t.finished, 2);
  cr_assert_eq(t.last.status, NEBULA_OK, "%s", t.text);
  cr_assert_eq(t.answer->value.len, 0);
  end(&t);
}

Test(message, goes_in_streams) {
  talk t = begin();
  uint64_t call = nebula_message_start(t.queue, t.stream, VALUES, 0, NULL, 0, NULL, 0);
  cr_assert_neq(call, 0);
  Bench__Value hello = value_of("hello", 5);
  for (int i = 1; i <= 3; i++) {
    cr_assert_geq(nebula_message_send(call, &hello.base, 0), 0);
    until(&t, &t.answers, i);
  }
  cr_assert_eq(nebula_call_send(call, NULL, 0, NEBULA_END), 0);
  until(&t, &t.finished, 1);
  cr_assert_eq(t.last.status, NEBULA_OK, "%s", t.text);
  cr_assert_eq(nebula_message_send(call, &hello.base, 0), NEBULA_E_STALE);
  end(&t);
}

Test(message, of_a_nested_call_shares_the_retries_of_its_parent) {
  talk t = begin();
  Bench__Value hello = value_of("hello", 5);
  const uint32_t flags = NEBULA_END | NEBULA_IDEMPOTENT;
  cr_assert_neq(nebula_message_start(t.queue, t.outer, VALUES, 0, NULL, 0, &hello.base, flags), 0);
  until(&t, &t.finished, 1);
  cr_assert_eq(t.last.status, NEBULA_UNAVAILABLE);
  cr_assert_eq(t.failures, 3, "not three for each of three tries of its parent: %d", t.failures);
  end(&t);
}

Test(message, of_another_type_is_refused_by_its_name) {
  talk t = begin();
  cr_assert_neq(nebula_call_start(t.queue, t.unary, VALUES, 0, NULL, 0, "\xff\xff", 2, NEBULA_END | NEBULA_PROTO), 0);
  until(&t, &t.finished, 1);
  cr_assert_eq(t.last.status, NEBULA_INVALID_ARGUMENT);
  cr_assert_str_eq(t.text, "the request is no bench.Value");
  uint64_t call = nebula_call_start(t.queue, t.stream, VALUES, 0, NULL, 0, NULL, 0, NEBULA_PROTO);
  cr_assert_geq(nebula_call_send(call, "\xff\xff", 2, 0), 0);
  until(&t, &t.finished, 2);
  cr_assert_eq(t.last.status, NEBULA_INVALID_ARGUMENT);
  end(&t);
}

Test(message, of_json_is_refused_with_what_is_taken) {
  talk t = begin();
  cr_assert_neq(nebula_call_start(t.queue, t.unary, VALUES, 0, NULL, 0, "{}", 2, NEBULA_END | NEBULA_JSON), 0);
  until(&t, &t.finished, 1);
  cr_assert_eq(t.last.status, NEBULA_UNIMPLEMENTED);
  cr_assert_not_null(strstr(t.text, "takes application/grpc+proto"), "%s", t.text);
  cr_assert_neq(nebula_call_start(t.queue, t.stream, VALUES, 0, NULL, 0, NULL, 0, NEBULA_JSON), 0);
  until(&t, &t.finished, 2);
  cr_assert_eq(t.last.status, NEBULA_UNIMPLEMENTED, "a stream is refused before its first message");
  end(&t);
}

Test(message, may_be_none) {
  nebula_message_free(NULL);
  nebula_event event;
  memset(&event, 0, sizeof event);
  cr_assert_null(nebula_message_of(&event, VALUE));
}
