/* tests/capi/call_test.c - calls through nebula.h: every way in which one can end, and every wrong way to use one. */
#include <poll.h>
#include <pthread.h>

#include "kit.h"

Test(call, brings_back_what_was_sent) {
  world w = make_world();
  call_and_wait(&w, w.echo, "hello");
  cr_assert_eq(w.last.status, NEBULA_OK);
  cr_assert_eq(w.last.tag, 7);
  cr_assert_str_eq(w.text, "hello");
  free_world(&w);
}

Test(call, brings_back_large_answers_all_given_between_two_polls) {
  world w = make_world();
  uint32_t size = 1 << 20;
  char *message = malloc(size);
  memset(message, 'm', size);
  for (int i = 0; i < 40; i++)
    cr_assert_neq(nebula_call_start(w.queue, w.echo, 7, 0, NULL, 0, message, size, NEBULA_END), 0);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  cr_assert_eq(w.last.size, size);
  turn_until(&w, &w.finished, 40);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  free(message);
  free_world(&w);
}

Test(call, knows_an_empty_message_from_none) {
  world w = make_world();
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, NULL, 0, NULL, 0, NEBULA_END), 0);
  call_and_wait(&w, w.echo, "");
  cr_assert_eq(w.last.status, NEBULA_OK);
  cr_assert_not_null(w.last.data);
  cr_assert_eq(w.last.size, 0);
  free_world(&w);
}

Test(call, brings_back_status_message_and_trailers) {
  world w = make_world();
  call_and_wait(&w, w.fail, "x");
  cr_assert_eq(w.last.status, NEBULA_ABORTED);
  cr_assert_str_eq(w.text, "not today: 100% \xc3\xbc");
  cr_assert_eq(w.last.metadata_size, 15);
  cr_assert_eq(memcmp(w.last.metadata + 8, "whereto", 7), 0);
  free_world(&w);
}

Test(call, carries_metadata_both_ways) {
  world w = make_world();
  static const char sent[] = "\x05\0\0\0\x03\0\0\0x-binabc\x05\0\0\0\x02\0\0\0z-bin\0\xff";
  cr_assert_neq(nebula_call_start(w.queue, w.echo, 7, 0, sent, sizeof sent - 1, "m", 1, NEBULA_END | NEBULA_WANT_HEADERS), 0);
  int found = 0;
  for (int turns = 0; w.finished == 0 && turns < 1000; turns++) {
    int32_t count = nebula_poll(w.queue, 1000);
    const nebula_event *events = nebula_queue_events(w.queue);
    for (int32_t i = 0; i < count; i++) {
      if (events[i].kind == NEBULA_EV_HEADERS) {
        const char *block = (const char *)events[i].metadata;
        for (uint32_t at = 0; at < events[i].metadata_size;) {
          uint32_t sizes[2];
          memcpy(sizes, block + at, 8);
          if (sizes[0] == 5 && memcmp(block + at + 8, "z-bin", 5) == 0)
            found = sizes[1] == 2 && memcmp(block + at + 13, "\0\xff", 2) == 0;
          at += 8 + sizes[0] + sizes[1];
        }
      }
      take(&w, &events[i]);
    }
  }
  cr_assert(found);
  free_world(&w);
}

Test(call, refuses_metadata_that_is_none) {
  world w = make_world();
  static const char lying[] = "\xff\0\0\0\x01\0\0\0ab";
  static const char upper[] = "\x01\0\0\0\x01\0\0\0Xb";
  static const char own[] = "\x09\0\0\0\x01\0\0\0grpc-test1";
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, lying, 10, "m", 1, NEBULA_END), 0);
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, upper, 10, "m", 1, NEBULA_END), 0);
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, own, 18, "m", 1, NEBULA_END), 0);
  free_world(&w);
}

Test(call, to_an_unknown_method_says_what_there_is) {
  world w = make_world();
  call_and_wait(&w, w.missing, "x");
  cr_assert_eq(w.last.status, NEBULA_UNIMPLEMENTED);
  cr_assert(has_text(&w, "Echo, Fail, Hang"), "%s", w.text);
  free_world(&w);
}

Test(call, ends_at_its_deadline_and_the_handler_hears_of_it) {
  world w = make_world();
  start(&w, w.hang, "x", 20000);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_DEADLINE_EXCEEDED);
  for (int turns = 0; w.cancelled_call == 0 && turns < 100; turns++) turn(&w, 100);
  cr_assert_eq(w.cancelled_call, w.hung_call);
  cr_assert_eq(nebula_call_send(w.hung_call, "x", 1, NEBULA_END), NEBULA_E_STALE);
  free_world(&w);
}

Test(call, that_is_cancelled_reaches_the_handler) {
  world w = make_world();
  uint64_t call = start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  cr_assert_eq(nebula_call_cancel(call, NEBULA_CANCELLED), 0);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_CANCELLED);
  for (int turns = 0; w.cancelled_call == 0 && turns < 100; turns++) turn(&w, 100);
  cr_assert_eq(w.cancelled_call, w.hung_call);
  cr_assert_eq(w.cancelled_status, NEBULA_CANCELLED);
  free_world(&w);
}

Test(call, over_the_limit_fails_alone) {
  world w = make_world();
  uint32_t size = (4u << 20) + 1;
  char *big = calloc(1, size);
  cr_assert_neq(nebula_call_start(w.queue, w.echo, 7, 0, NULL, 0, big, size, NEBULA_END), 0);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_RESOURCE_EXHAUSTED, "%s", w.text);
  cr_assert_neq(nebula_call_start(w.queue, w.echo, 7, 0, NULL, 0, big, size - 1, NEBULA_END), 0);
  turn_until(&w, &w.finished, 2);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  cr_assert_eq(w.last.size, size - 1);
  free(big);
  free_world(&w);
}

Test(call, ids_that_are_over_are_harmless) {
  world w = make_world();
  uint64_t call = start(&w, w.echo, "x", 0);
  turn_until(&w, &w.finished, 1);
  nebula_call_info info = {.size = sizeof info};
  const uint64_t ids[] = {call, 0, 1, UINT64_MAX, (1ull << 53) - 1, call + (1ull << 24)};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    cr_assert_eq(nebula_call_cancel(ids[i], NEBULA_CANCELLED), NEBULA_E_STALE);
    cr_assert_eq(nebula_call_send(ids[i], "x", 1, NEBULA_END), NEBULA_E_STALE);
    cr_assert_eq(nebula_call_finish(ids[i], 0, NULL, NULL, 0), NEBULA_E_STALE);
    cr_assert_eq(nebula_call_headers(ids[i], NULL, 0), NEBULA_E_STALE);
    cr_assert_eq(nebula_call_tag(ids[i], 1), NEBULA_E_STALE);
    cr_assert_eq(nebula_call_give(ids[i], nebula_buffer_new(1), NEBULA_END), NEBULA_E_STALE);
    cr_assert_eq(nebula_call_describe(ids[i], &info), NEBULA_E_STALE);
  }
  free_world(&w);
}

Test(call, of_the_other_side_is_not_answered) {
  world w = make_world();
  uint64_t call = start(&w, w.hang, "x", 0);
  cr_assert_eq(nebula_call_send(call, "x", 1, NEBULA_END), NEBULA_E_STATE);
  cr_assert_eq(nebula_call_headers(call, NULL, 0), NEBULA_E_STATE);
  free_world(&w);
}

Test(call, can_be_described_while_it_runs) {
  world w = make_world();
  start(&w, w.hang, "x", 5000000);
  while (w.hung_call == 0) turn(&w, 1000);
  nebula_call_info info = {.size = sizeof info};
  cr_assert_eq(nebula_call_describe(w.hung_call, &info), 0);
  cr_assert_str_eq(info.method, "/test.Echo/Hang");
  cr_assert(strstr(info.peer, "mem:") == info.peer, "%s", info.peer);
  cr_assert(info.left_us > 0 && info.left_us <= 5000000);
  info.size = 3;
  cr_assert_eq(nebula_call_describe(w.hung_call, &info), NEBULA_E_ARGUMENT);
  free_world(&w);
}

Test(call, is_answered_from_a_buffer_without_a_copy) {
  world w = make_world();
  start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  nebula_buffer *buffer = nebula_buffer_new(100);
  memcpy(nebula_buffer_data(buffer), "given", 5);
  cr_assert_eq(nebula_buffer_trim(buffer, 101), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_buffer_trim(buffer, 5), 0);
  nebula_buffer_ref(buffer); /* a second holder: the engine may not write its prefix into it */
  cr_assert_eq(nebula_call_give(w.hung_call, buffer, NEBULA_END), 0);
  turn_until(&w, &w.finished, 1);
  cr_assert_str_eq(w.text, "given");
  cr_assert_eq(memcmp(nebula_buffer_data(buffer), "given", 5), 0);
  nebula_buffer_unref(buffer);
  free_world(&w);
}

Test(call, may_be_answered_with_trailers_behind_the_message) {
  world w = make_world();
  start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  static const char trailer[] = "\x05\0\0\0\x02\0\0\0whereto";
  cr_assert_eq(nebula_call_send(w.hung_call, "answer", 6, 0), 0);
  cr_assert_eq(nebula_call_finish(w.hung_call, NEBULA_OK, NULL, trailer, 15), 0);
  cr_assert_eq(nebula_call_finish(w.hung_call, NEBULA_OK, NULL, NULL, 0), NEBULA_E_STALE);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  cr_assert_str_eq(w.text, "answer");
  cr_assert_eq(w.last.metadata_size, 15);
  free_world(&w);
}

Test(call, with_two_messages_is_the_handlers_mistake) {
  world w = make_world();
  start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  cr_assert_eq(nebula_call_send(w.hung_call, "one", 3, 0), 0);
  cr_assert_eq(nebula_call_send(w.hung_call, "two", 3, 0), 0);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_INTERNAL);
  cr_assert(has_text(&w, "two messages"), "%s", w.text);
  free_world(&w);
}

Test(call, codec_travels_there_and_back) {
  world w = make_world();
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, NULL, 0, "1", 1, NEBULA_END | NEBULA_JSON | NEBULA_PROTO), 0);
  cr_assert_neq(nebula_call_start(w.queue, w.hang, 7, 0, NULL, 0, "1", 1, NEBULA_END | NEBULA_JSON), 0);
  uint32_t flags = 0;
  for (int turns = 0; flags == 0 && turns < 100; turns++) {
    int32_t count = nebula_poll(w.queue, 1000);
    for (int32_t i = 0; i < count; i++)
      if (nebula_queue_events(w.queue)[i].kind == NEBULA_EV_CALL) flags = nebula_queue_events(w.queue)[i].flags;
  }
  cr_assert_eq(flags, NEBULA_END | NEBULA_JSON);
  free_world(&w);
}

Test(call, ten_thousand_at_once_all_end) {
  world w = make_world_at("mem:", "tcp://127.0.0.1:0", "mem:nobody");
  char urls[256];
  cr_assert_gt(nebula_server_urls(w.server, urls, sizeof urls), 0);
  nebula_channel *channel = nebula_channel_new(w.engine, urls, NULL, NULL);
  cr_assert_not_null(channel, "%s", urls);
  uint64_t echo = nebula_channel_method(channel, "/test.Echo/Echo", NEBULA_UNARY);
  for (int i = 0; i < 10000; i++) {
    char text[16];
    snprintf(text, sizeof text, "%d", i);
    cr_assert_neq(nebula_call_start(w.queue, echo, (uint64_t)i, 0, NULL, 0, text, (uint32_t)strlen(text), NEBULA_END), 0);
  }
  char *seen = calloc(1, 10000);
  for (int total = 0; total < 10000;) {
    int32_t count = nebula_poll(w.queue, 5000);
    cr_assert_gt(count, 0);
    for (int32_t i = 0; i < count; i++) {
      const nebula_event *event = &nebula_queue_events(w.queue)[i];
      if (event->kind == NEBULA_EV_FINISHED) {
        char text[16];
        snprintf(text, sizeof text, "%d", (int)event->tag);
        cr_assert_eq(event->status, 0, "%.*s", (int)event->size, (const char *)event->data);
        cr_assert(event->size == strlen(text) && memcmp(event->data, text, event->size) == 0);
        cr_assert_eq(seen[event->tag]++, 0);
        total++;
      }
      take(&w, event);
    }
  }
  free(seen);
  nebula_channel_free(channel);
  free_world(&w);
}

static void *answer_from_afar(void *call) {
  return (void *)(intptr_t)nebula_call_send(*(uint64_t *)call, "far", 3, NEBULA_END);
}

Test(call, may_be_answered_from_another_thread) {
  world w = make_world();
  start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  pthread_t thread;
  pthread_create(&thread, NULL, answer_from_afar, &w.hung_call);
  turn_until(&w, &w.finished, 1);
  cr_assert_str_eq(w.text, "far");
  void *result;
  pthread_join(thread, &result);
  cr_assert_null(result);
  free_world(&w);
}

Test(call, answers_raise_the_descriptor) {
  world w = make_world();
  while (turn(&w, 0) > 0) {}
  start(&w, w.echo, "x", 0);
  struct pollfd fd = {nebula_queue_fd(w.queue), POLLIN, 0};
  for (int wakes = 0; w.finished == 0 && wakes < 1000; wakes++) {
    cr_assert_eq(poll(&fd, 1, 2000), 1, "the descriptor stayed silent with work to do");
    turn(&w, 0);
  }
  cr_assert_eq(w.finished, 1);
  free_world(&w);
}

/* So that the server has work again while we look at the rest; a server's calls come all at once. */
Test(call, answers_come_a_few_at_a_time) {
  world w = make_world();
  call_and_wait(&w, w.echo, "connects");
  for (int i = 0; i < 100; i++) start(&w, w.echo, "x", 0);
  int served_most = 0, finished_most = 0;
  while (w.finished < 101) {
    int served = w.served, finished = w.finished;
    cr_assert_gt(turn(&w, 2000), 0);
    if (w.served - served > served_most) served_most = w.served - served;
    if (w.finished - finished > finished_most) finished_most = w.finished - finished;
  }
  cr_assert_leq(finished_most, 32);
  if (QUEUE_MODE == NEBULA_QUEUE_INLINE) { /* else they come when the I/O thread has them */
    cr_assert_eq(served_most, 100);
    cr_assert_eq(finished_most, 32);
  }
  free_world(&w);
}

Test(call, what_a_poll_has_left_raises_the_descriptor) {
  world w = make_world();
  call_and_wait(&w, w.echo, "connects");
  for (int i = 0; i < 100; i++) start(&w, w.echo, "x", 0);
  while (w.finished == 1) turn(&w, 2000);
  struct pollfd fd = {nebula_queue_fd(w.queue), POLLIN, 0}; /* nobody has asked for it before */
  while (w.finished < 101) {
    cr_assert_eq(poll(&fd, 1, 2000), 1, "the descriptor stayed silent after %d of 100", w.finished - 1);
    turn(&w, 0);
  }
  free_world(&w);
}
