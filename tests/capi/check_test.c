/* tests/capi/check_test.c - NEBULA_CHECK and nebula_server_schema: messages looked at before they are sent. */
#include "kit.h"

static const char document[] =
    "{\"service\":\"test.Echo\",\"methods\":["
    "{\"name\":\"Echo\",\"shape\":\"unary\",\"request\":{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"name\"],"
    "\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\"},\"address\":{\"$ref\":\"#/$defs/Address\"}}}},"
    "{\"name\":\"Fail\"},{\"name\":\"Hang\"},"
    "{\"name\":\"Talk\",\"shape\":\"bidi\",\"request\":{\"type\":\"integer\"}}],"
    "\"$defs\":{\"Address\":{\"type\":\"object\",\"properties\":{\"zip\":{\"type\":\"string\"}}}}}";

enum { TALK = 20 };

/* A world whose server is described by `text`; NULL: not at all. */
static world make_described_world(const char *text) {
  world w;
  memset(&w, 0, sizeof w);
  nebula_error error = {0};
  nebula_engine_options options = {sizeof options, 0, "mem:", 0};
  w.engine = nebula_engine_new(&options, &error);
  cr_assert_not_null(w.engine, "%s", error.message);
  w.queue = new_queue(w.engine, &error);
  w.server = nebula_server_new(w.engine, NULL, &error);
  cr_assert_eq(nebula_server_method(w.server, "/test.Echo/Echo", NEBULA_UNARY, ECHO), 0);
  cr_assert_eq(nebula_server_method(w.server, "/test.Echo/Fail", NEBULA_UNARY, FAIL), 0);
  cr_assert_eq(nebula_server_method(w.server, "/test.Echo/Hang", NEBULA_UNARY, HANG), 0);
  cr_assert_eq(nebula_server_method(w.server, "/test.Echo/Talk", NEBULA_BIDI, TALK), 0);
  if (text != NULL) cr_assert_eq(nebula_server_schema(w.server, "test.Echo", text, (uint32_t)strlen(text)), 0);
  cr_assert_eq(nebula_server_listen(w.server, "mem:test", NULL, &error), 0, "%s", error.message);
  cr_assert_eq(nebula_server_start(w.server, &w.queue, 1, &error), 0, "%s", error.message);
  w.channel = nebula_channel_new(w.engine, "mem:test", NULL, &error);
  cr_assert_not_null(w.channel, "%s", error.message);
  w.echo = nebula_channel_method(w.channel, "/test.Echo/Echo", NEBULA_UNARY);
  w.missing = nebula_channel_method(w.channel, "/test.Echo/Ehco", NEBULA_UNARY);
  return w;
}

static void check(world *w, uint64_t method, const char *text) {
  int before = w->finished;
  cr_assert_neq(nebula_call_start(w->queue, method, 7, 10000000, NULL, 0, text, (uint32_t)strlen(text),
                                  NEBULA_END | NEBULA_JSON | NEBULA_CHECK), 0);
  turn_until(w, &w->finished, before + 1);
}

/* Nothing has reached a handler, and the caller is told so. */
static void assert_refused(world *w, int32_t status, const char *words) {
  cr_assert_eq(w->last.status, status, "%s", w->text);
  cr_assert_str_eq(w->text, words);
  cr_assert_eq(w->last.value & 255, NEBULA_FATE_UNSENT);
  cr_assert_eq(w->last.value >> 8 & 255, NEBULA_FAULT_CALLER);
  cr_assert_eq(w->served, 0);
}

Test(check, names_the_field_before_anything_is_sent) {
  world w = make_described_world(document);
  check(&w, w.echo, "{\"nmae\":\"Ada\"}");
  assert_refused(&w, NEBULA_INVALID_ARGUMENT,
                 "test.Echo.Echo has no field \"nmae\" (fields: name, age, address); did you mean \"name\"?");
  check(&w, w.echo, "{\"name\":\"Ada\",\"age\":\"old\"}");
  assert_refused(&w, NEBULA_INVALID_ARGUMENT, "test.Echo.Echo: field \"age\" must be an integer, not a string");
  check(&w, w.echo, "{\"name\":\"Ada\",\"address\":{\"zip\":1}}");
  assert_refused(&w, NEBULA_INVALID_ARGUMENT, "test.Echo.Echo: field \"address.zip\" must be a string, not a number");
  check(&w, w.echo, "{}");
  assert_refused(&w, NEBULA_INVALID_ARGUMENT, "test.Echo.Echo: field \"name\" is missing");
  check(&w, w.missing, "{}");
  assert_refused(&w, NEBULA_UNIMPLEMENTED,
                 "test.Echo has no method \"Ehco\" (methods: Echo, Fail, Hang, Talk); did you mean \"Echo\"?");
  check(&w, w.echo, "{\"name\":\"Ada\"}");
  cr_assert_eq(w.last.status, NEBULA_OK);
  cr_assert_eq(w.served, 1);
  free_world(&w);
}

Test(check, leaves_calls_without_the_flag_alone) {
  world w = make_described_world(document);
  call_and_wait(&w, w.echo, "{\"nmae\":\"Ada\"}");
  cr_assert_eq(w.last.status, NEBULA_OK);
  cr_assert_eq(w.served, 1);
  free_world(&w);
}

Test(check, calls_a_service_without_a_description_unchecked) {
  world w = make_described_world(NULL);
  check(&w, w.echo, "{\"nmae\":\"Ada\"}");
  cr_assert_eq(w.last.status, NEBULA_OK);
  cr_assert_eq(w.served, 1);
  check(&w, w.missing, "{}");
  cr_assert_eq(w.last.status, NEBULA_UNIMPLEMENTED);
  cr_assert_eq(w.last.value & 255, NEBULA_FATE_PROCESSED);
  free_world(&w);
}

Test(check, looks_at_each_message_of_a_stream) {
  world w = make_described_world(document);
  uint64_t talk = nebula_channel_method(w.channel, "/test.Echo/Talk", NEBULA_BIDI);
  uint32_t flags = NEBULA_JSON | NEBULA_CHECK;
  cr_assert_neq(nebula_call_start(w.queue, talk, 7, 10000000, NULL, 0, "\"x\"", 3, flags), 0);
  turn_until(&w, &w.finished, 1);
  assert_refused(&w, NEBULA_INVALID_ARGUMENT, "test.Echo.Talk: the message must be an integer, not a string");

  uint64_t call = nebula_call_start(w.queue, talk, 7, 10000000, NULL, 0, "1", 1, flags);
  turn_until(&w, &w.served, 1);
  cr_assert_geq(nebula_call_send(call, "true", 4, 0), 0);
  turn_until(&w, &w.finished, 2);
  cr_assert_eq(w.last.status, NEBULA_INVALID_ARGUMENT);
  cr_assert_str_eq(w.text, "test.Echo.Talk: the message must be an integer, not a boolean");
  turn_until(&w, &w.cancelled, 1);
  free_world(&w);
}

Test(check, is_asked_for_with_json_alone) {
  world w = make_described_world(document);
  uint32_t flags = NEBULA_END | NEBULA_CHECK;
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, NULL, 0, "{}", 2, flags), 0);
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, NULL, 0, "{}", 2, flags | NEBULA_PROTO), 0);
  free_world(&w);
}

Test(check, counts_against_the_deadline_and_says_what_was_waited_for) {
  world w = make_described_world(document);
  nebula_error error = {0};
  nebula_channel *nowhere = nebula_channel_new(w.engine, "nebula://nobody", NULL, &error);
  uint64_t method = nebula_channel_method(nowhere, "/nobody/greet", NEBULA_UNARY);
  uint32_t flags = NEBULA_END | NEBULA_JSON | NEBULA_CHECK;
  cr_assert_neq(nebula_call_start(w.queue, method, 7, 20000, NULL, 0, "{}", 2, flags | NEBULA_WAIT_FOR_READY), 0);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_DEADLINE_EXCEEDED);
  cr_assert(has_text(&w, "while the call waited for the description of \"nobody\""), "%s", w.text);
  cr_assert_neq(nebula_call_start(w.queue, method, 7, 10000000, NULL, 0, "{}", 2, flags), 0);
  turn_until(&w, &w.finished, 2);
  cr_assert_eq(w.last.status, NEBULA_UNAVAILABLE);
  cr_assert_str_eq(w.text, "no instance of \"nobody\" is announced");
  nebula_channel_free(nowhere);
  free_world(&w);
}

Test(check, ends_with_its_channel) {
  world w = make_described_world(document);
  nebula_error error = {0};
  nebula_channel *nowhere = nebula_channel_new(w.engine, "nebula://nobody", NULL, &error);
  uint64_t method = nebula_channel_method(nowhere, "/nobody/greet", NEBULA_UNARY);
  uint32_t flags = NEBULA_END | NEBULA_JSON | NEBULA_CHECK | NEBULA_WAIT_FOR_READY;
  cr_assert_neq(nebula_call_start(w.queue, method, 7, 0, NULL, 0, "{}", 2, flags), 0);
  turn(&w, 0);
  nebula_channel_free(nowhere);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_CANCELLED);
  free_world(&w);
}

Test(schema, is_a_description_of_all_that_the_service_has) {
  world w = make_described_world(document);
  nebula_error error = {0};
  cr_assert_eq(nebula_server_schema(NULL, "a", "{}", 2), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_server_schema(w.server, "test.Echo", document, sizeof document - 1), NEBULA_E_STATE);
  nebula_server *server = nebula_server_new(w.engine, NULL, &error);
  cr_assert_eq(nebula_server_schema(server, "test.Echo", NULL, 0), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_server_schema(server, NULL, document, sizeof document - 1), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_server_schema(server, "test.Echo", "{}", 2), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_server_schema(server, "other", document, sizeof document - 1), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_server_schema(server, "test.Echo", document, sizeof document - 1), 0);
  cr_assert_eq(nebula_server_schema(server, "test.Echo", document, sizeof document - 1), NEBULA_E_ARGUMENT, "the second");
  cr_assert_eq(nebula_server_method(server, "/test.Echo/Echo", NEBULA_UNARY, ECHO), 0);
  cr_assert_eq(nebula_server_listen(server, "mem:other", NULL, &error), 0);
  nebula_queue *queue = new_queue(w.engine, &error);
  cr_assert_eq(nebula_server_start(server, &queue, 1, &error), NEBULA_E_ARGUMENT);
  cr_assert_str_eq(error.message, "start: the methods that \"test.Echo\" is said to have are not those that it has");
  nebula_server_free(server);
  nebula_queue_free(queue);
  free_world(&w);
}
