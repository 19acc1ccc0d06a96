/* tests/capi/kit.h - a world in one process: an engine, a queue, a server and a channel on it. */
#ifndef NEBULA_TESTS_CAPI_KIT_H
#define NEBULA_TESTS_CAPI_KIT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nebula.h"

/* Every test runs on queues of both modes. */
#ifndef QUEUE_MODE
#define QUEUE_MODE NEBULA_QUEUE_INLINE
#endif

static inline nebula_queue *new_queue(nebula_engine *engine, nebula_error *error) {
  nebula_queue_options options;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.mode = QUEUE_MODE;
  return nebula_queue_new(engine, &options, error);
}

enum { ECHO = 1, FAIL = 2, HANG = 3, LATE = 4, SILENT = 5 };

typedef struct world {
  nebula_engine *engine;
  nebula_queue *queue;
  nebula_server *server;
  nebula_channel *channel;
  uint64_t echo, fail, hang, missing;
  /* what the last events said */
  uint64_t hung_call, cancelled_call;
  int32_t cancelled_status;
  int finished, served, cancelled, drained, woken;
  uint32_t answer_flags;    /* of ECHO, besides NEBULA_END */
  nebula_event last;        /* FINISHED; its pointers are good until the next poll */
  char text[512];           /* its data, as a string */
} world;

static inline int has_text(const world *w, const char *part) { return strstr(w->text, part) != NULL; }

/* Answers one event as the server of these tests does, and notes the rest. */
static inline void take(world *w, const nebula_event *event) {
  switch (event->kind) {
    case NEBULA_EV_CALL:
      w->served++;
      if (event->tag == ECHO) {
        cr_assert_eq(nebula_call_headers(event->call, event->metadata, event->metadata_size), 0);
        cr_assert_eq(nebula_call_send(event->call, event->data, event->size, NEBULA_END | w->answer_flags), 0);
      } else if (event->tag == FAIL) {
        static const char trailer[] = "\x05\0\0\0\x02\0\0\0whereto";
        cr_assert_eq(nebula_call_finish(event->call, NEBULA_ABORTED, "not today: 100% \xc3\xbc", trailer, 15), 0);
      } else {
        w->hung_call = event->call;
      }
      break;
    case NEBULA_EV_FINISHED:
      w->finished++;
      w->last = *event;
      snprintf(w->text, sizeof w->text, "%.*s", (int)event->size, event->data ? (const char *)event->data : "");
      break;
    case NEBULA_EV_CANCELLED:
      w->cancelled++;
      w->cancelled_call = event->call;
      w->cancelled_status = event->status;
      break;
    case NEBULA_EV_DRAINED: w->drained++; break;
    case NEBULA_EV_WAKE: w->woken++; break;
    default: break;
  }
}

static inline int turn(world *w, int timeout_ms) {
  int32_t count = nebula_poll(w->queue, timeout_ms);
  cr_assert_geq(count, 0, "poll: %s", nebula_strerror(count));
  const nebula_event *events = nebula_queue_events(w->queue);
  for (int32_t i = 0; i < count; i++) take(w, &events[i]);
  return count;
}

/* Turns until *counter has reached `goal`; fails after some 10 s. */
static inline void turn_until(world *w, const int *counter, int goal) {
  for (int turns = 0; *counter < goal && turns < 100000; turns++)
    if (turn(w, 1000) == 0 && turns > 10) break;
  cr_assert_geq(*counter, goal, "got %d of %d", *counter, goal);
}

static inline world make_world_with(const char *registry, const char *listen, const char *target,
                                    const nebula_server_options *of_server, const nebula_channel_options *of_channel) {
  world w;
  memset(&w, 0, sizeof w);
  nebula_error error = {0};
  nebula_engine_options options = {sizeof options, 0, registry, 0};
  w.engine = nebula_engine_new(&options, &error);
  cr_assert_not_null(w.engine, "%s", error.message);
  w.queue = new_queue(w.engine, &error);
  cr_assert_not_null(w.queue, "%s", error.message);
  w.server = nebula_server_new(w.engine, of_server, &error);
  cr_assert_not_null(w.server, "%s", error.message);
  cr_assert_eq(nebula_server_method(w.server, "/test.Echo/Echo", NEBULA_UNARY, ECHO), 0);
  cr_assert_eq(nebula_server_method(w.server, "/test.Echo/Fail", NEBULA_UNARY, FAIL), 0);
  cr_assert_eq(nebula_server_method(w.server, "/test.Echo/Hang", NEBULA_UNARY, HANG), 0);
  cr_assert_eq(nebula_server_listen(w.server, listen, NULL, &error), 0, "%s", error.message);
  cr_assert_eq(nebula_server_start(w.server, &w.queue, 1, &error), 0, "%s", error.message);
  w.channel = nebula_channel_new(w.engine, target, of_channel, &error);
  cr_assert_not_null(w.channel, "%s", error.message);
  w.echo = nebula_channel_method(w.channel, "/test.Echo/Echo", NEBULA_UNARY);
  w.fail = nebula_channel_method(w.channel, "/test.Echo/Fail", NEBULA_UNARY);
  w.hang = nebula_channel_method(w.channel, "/test.Echo/Hang", NEBULA_UNARY);
  w.missing = nebula_channel_method(w.channel, "/test.Echo/Nope", NEBULA_UNARY);
  cr_assert(w.echo && w.fail && w.hang && w.missing);
  return w;
}

static inline world make_world_at(const char *registry, const char *listen, const char *target) {
  return make_world_with(registry, listen, target, NULL, NULL);
}

static inline world make_world(void) { return make_world_at("mem:", "mem:test", "mem:test"); }

static inline void free_world(world *w) {
  nebula_channel_free(w->channel);
  nebula_server_free(w->server);
  nebula_queue_free(w->queue);
  nebula_engine_free(w->engine);
}

static inline uint64_t start(world *w, uint64_t method, const char *text, uint64_t timeout_us) {
  uint64_t call = nebula_call_start(w->queue, method, 7, timeout_us, NULL, 0, text, (uint32_t)strlen(text), NEBULA_END);
  cr_assert_neq(call, 0);
  return call;
}

static inline void call_and_wait(world *w, uint64_t method, const char *text) {
  int before = w->finished;
  start(w, method, text, 10000000);
  turn_until(w, &w->finished, before + 1);
}

#endif
