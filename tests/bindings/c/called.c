/* bindings/c/called.c - the client: a case a line, each with one call, or many of one kind, and perhaps a Recall. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "run.h"

enum { RECALL_MS = 5000, LOOK_AGAIN_MS = 10 };

static int32_t poll_once(nebula_queue *queue, int64_t left_us) {
  int32_t count = nebula_poll(queue, left_us < 0 ? -1 : (int32_t)(left_us / 1000 + 1));
  if (count < 0) fail(nebula_strerror(count));
  return count;
}

static void turn(nebula_queue *queue, int64_t left_us) {
  const int32_t count = poll_once(queue, left_us);
  const nebula_event *events = nebula_queue_events(queue);
  for (int32_t i = 0; i < count; i++)
    if (events[i].tag != 0) run_event((run *)(uintptr_t)events[i].tag, &events[i]);
}

static void run_once(const line *line, const json *given, text *result) {
  run *run = run_start(line, given);
  while (!run_is_over(run)) {
    int64_t left_us = run_timers(run);
    if (!run_is_over(run)) turn(line->queue, left_us);
  }
  run_result(run, result);
  run_free(run);
}

/* So many calls, so many at a time: how often each code came. */
static void run_many(const line *line, const json *given, text *result) {
  int64_t left = json_number(given, "times", 0), at_once = json_number(given, "at_once", 1), running = 0;
  int64_t codes[17] = {0};
  run **runs = must(calloc((size_t)at_once, sizeof *runs));
  while (left > 0 || running > 0) {
    int64_t next_us = -1;
    for (int64_t i = 0; i < at_once; i++) {
      if (runs[i] == NULL && left > 0) {
        runs[i] = run_start(line, given);
        left--;
        running++;
      }
      if (runs[i] == NULL) continue;
      const int64_t due_us = run_timers(runs[i]);
      if (due_us >= 0 && (next_us < 0 || due_us < next_us)) next_us = due_us;
    }
    turn(line->queue, next_us);
    for (int64_t i = 0; i < at_once; i++) {
      if (runs[i] == NULL || !run_is_over(runs[i])) continue;
      codes[run_code(runs[i])]++;
      run_free(runs[i]);
      runs[i] = NULL;
      running--;
    }
  }
  free(runs);
  const char *between = "";
  put_text(result, ",\"codes\":{");
  for (int code = 0; code <= 16; code++) {
    if (codes[code] == 0) continue;
    put_format(result, "%s\"%d\":%" PRId64, between, code, codes[code]);
    between = ",";
  }
  put_text(result, "}");
}

/* NULL: the call failed. */
static Record *recall_once(const line *line, uint64_t method, const char *name) {
  Key key = NEBULA__TEST__V1__KEY__INIT;
  key.key = (char *)name;
  uint64_t call = nebula_message_start(line->queue, method, 0, RECALL_MS * 1000, NULL, 0, &key.base, NEBULA_END);
  if (call == 0) return NULL;
  while (true) {
    const int32_t count = poll_once(line->queue, -1);
    const nebula_event *events = nebula_queue_events(line->queue);
    for (int32_t i = 0; i < count; i++) /* no other call is open */
      if (events[i].call == call && events[i].kind == NEBULA_EV_FINISHED)
        return events[i].status == NEBULA_OK ? (Record *)nebula_message_of(&events[i], RECORD) : NULL;
  }
}

static void recall_until_it_ends(const line *line, const char *name, text *result) {
  const uint64_t method = nebula_channel_method(line->channel, "/" SERVICE "/Recall", NEBULA_UNARY);
  const int64_t end_us = now_us() + RECALL_MS * 1000;
  Record *record = recall_once(line, method, name);
  while (record != NULL && strcmp(record->state, "running") == 0 && now_us() < end_us) {
    nebula_message_free(&record->base);
    poll_once(line->queue, LOOK_AGAIN_MS * 1000);
    record = recall_once(line, method, name);
  }
  put_text(result, ",\"record\":");
  if (record != NULL) put_message(result, &record->base);
  else put_text(result, "null");
  nebula_message_free((ProtobufCMessage *)record);
}

static void answer_line(const line *line, const char *bytes) {
  json *given = json_parse(bytes);
  text result = {0};
  put_text(&result, "{\"name\":");
  put_quoted(&result, json_text(given, "name"), strlen(json_text(given, "name")));
  if (given == NULL) put_text(&result, ",\"broken\":\"malformed JSON\"");
  else if (json_find(given, "times") != NULL) run_many(line, given, &result);
  else run_once(line, given, &result);
  if (json_find(given, "recall") != NULL) recall_until_it_ends(line, json_text(given, "recall"), &result);
  printf("%s}\n", result.data);
  fflush(stdout);
  free(result.data);
  json_free(given);
}

int call(const char *target) {
  nebula_error error = {0};
  nebula_engine *engine = nebula_engine_new(NULL, &error);
  nebula_queue *queue = engine != NULL ? nebula_queue_new(engine, NULL, &error) : NULL;
  nebula_channel *channel = queue != NULL ? nebula_channel_new(engine, target, NULL, &error) : NULL;
  if (channel == NULL) fail(error.message);
  const line line = {queue, channel};
  char *bytes = NULL;
  size_t room = 0;
  while (getline(&bytes, &room, stdin) >= 0) answer_line(&line, bytes);
  free(bytes);
  nebula_channel_free(channel);
  nebula_queue_free(queue);
  nebula_engine_free(engine);
  return 0;
}
