/* bench/speed/nebula_peer.c - bench.Echo on Nebula, as a C program has it: nebula.h and protobuf-c.
 *
 * usage: nebula_peer serve <address> [threaded | methods <count>]  prints its address; until it is killed
 *        nebula_peer load <target> <unary|stream> <payload bytes> <connections> <in flight on each> <seconds>
 *        nebula_peer load <target> <unary|stream> <payload bytes> <connections> <in flight on each> <count> answers
 *
 * An address is one of Nebula's (tcp://127.0.0.1:0, unix:/path, tls://...?cert=...), or a name to announce; a target
 * the same. threaded: I/O threads of the engine bring the calls to the handler; methods: so many more, Unary0 and so on,
 * do what Unary does. `load` keeps so many calls, or messages of one stream, in flight, and prints one line of JSON. */
#include <nebula.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/echo.pb-c.h"

typedef Bench__Value Value;

enum { UNARY = 1, STREAM = 2 };

static void fail(const char *what) {
  fprintf(stderr, "nebula_peer: %s\n", what);
  exit(1);
}

static void check(int32_t code, const nebula_error *error) {
  if (code < 0) fail(error != NULL && error->message[0] ? error->message : nebula_strerror(code));
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static Value *unpack(const nebula_event *event) {
  Value *value = bench__value__unpack(NULL, event->size, event->data);
  if (value == NULL) fail("a message that is no bench.Value");
  return value;
}

static nebula_buffer *pack(const Value *value) {
  nebula_buffer *buffer = nebula_buffer_new((uint32_t)bench__value__get_packed_size(value));
  bench__value__pack(value, nebula_buffer_data(buffer));
  return buffer;
}

/* ---- server */

static void echo(const nebula_event *event, uint32_t flags) {
  Value *request = unpack(event);
  Value answer = BENCH__VALUE__INIT;
  answer.value.len = request->value.len;
  answer.value.data = malloc(request->value.len + 1);
  memcpy(answer.value.data, request->value.data, request->value.len);
  nebula_call_give(event->call, pack(&answer), flags);
  free(answer.value.data);
  bench__value__free_unpacked(request, NULL);
}

static int32_t serve_event(void *context, const nebula_event *event) {
  (void)context;
  if (event->kind == NEBULA_EV_CALL && event->tag == UNARY) echo(event, NEBULA_END);
  if (event->kind == NEBULA_EV_MESSAGE) echo(event, event->flags & NEBULA_END);
  if (event->kind == NEBULA_EV_END) nebula_call_finish(event->call, NEBULA_OK, NULL, NULL, 0);
  return 0;
}

static int serve(const char *address, bool is_threaded, int methods) {
  nebula_error error = {0};
  nebula_engine *engine = nebula_engine_new(NULL, &error);
  nebula_queue_options mode = {.size = sizeof mode, .mode = is_threaded ? NEBULA_QUEUE_THREADED : NEBULA_QUEUE_INLINE};
  nebula_queue *queue = engine != NULL ? nebula_queue_new(engine, &mode, &error) : NULL;
  nebula_server *server = queue != NULL ? nebula_server_new(engine, NULL, &error) : NULL;
  if (server == NULL) fail(error.message);
  bool is_name = strchr(address, ':') == NULL;
  nebula_listen_options announce = {.size = sizeof announce, .announce = address};
  check(nebula_server_method(server, "/bench.Echo/Unary", NEBULA_UNARY, UNARY), NULL);
  check(nebula_server_method(server, "/bench.Echo/Stream", NEBULA_BIDI, STREAM), NULL);
  for (int i = 0; i < methods; i++) {
    char path[64];
    snprintf(path, sizeof path, "/bench.Echo/Unary%d", i);
    check(nebula_server_method(server, path, NEBULA_UNARY, UNARY), NULL);
  }
  check(nebula_server_listen(server, is_name ? NULL : address, is_name ? &announce : NULL, &error), &error);
  check(nebula_server_start(server, &queue, 1, &error), &error);
  char urls[256];
  nebula_server_urls(server, urls, sizeof urls);
  printf("%s\n", urls);
  fflush(stdout);
  return nebula_run(queue, serve_event, NULL);
}

/* ---- client */

typedef struct { nebula_queue *queue; uint64_t method; int64_t began; } Slot; /* a call in flight */

static Value request = BENCH__VALUE__INIT;
static int64_t *latencies;
static size_t count, latencies_room;

static void measured(int64_t ns) {
  if (count == latencies_room) latencies = realloc(latencies, (latencies_room = latencies_room * 2 + 65536) * sizeof *latencies);
  latencies[count++] = ns;
}

static void check_answer(const nebula_event *event) {
  Value *answer = unpack(event);
  if (answer->value.len != request.value.len) fail("an answer of another length");
  bench__value__free_unpacked(answer, NULL);
}

static void start(Slot *slot) {
  uint8_t room[256];
  size_t size = bench__value__get_packed_size(&request);
  uint8_t *data = size <= sizeof room ? room : malloc(size);
  bench__value__pack(&request, data);
  slot->began = now_ns();
  if (nebula_call_start(slot->queue, slot->method, (uint64_t)slot, 0, NULL, 0, data, (uint32_t)size, NEBULA_END) == 0)
    fail("a call could not be started");
  if (data != room) free(data);
}

/* A stream's messages come back in order: when each was sent. */
typedef struct { uint64_t call; int64_t *began; size_t size, sent, received; } Flow;

static void send_one(Flow *flow) {
  flow->began[flow->sent++ % flow->size] = now_ns();
  nebula_call_give(flow->call, pack(&request), 0);
}

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* Until that time has passed, or, if it is 0, so many answers have come. */
typedef struct { double seconds; size_t answers; } Length;

static int load(const char *target, bool is_stream, size_t bytes, int connections, int in_flight, Length length) {
  nebula_error error = {0};
  nebula_engine *engine = nebula_engine_new(NULL, &error);
  nebula_queue *queue = engine != NULL ? nebula_queue_new(engine, NULL, &error) : NULL;
  if (queue == NULL) fail(error.message);
  request.value.len = bytes;
  request.value.data = calloc(1, bytes + 1);
  Slot *slots = calloc((size_t)(connections * in_flight), sizeof *slots);
  Flow *flows = calloc((size_t)connections, sizeof *flows);
  char url[512];
  snprintf(url, sizeof url, strchr(target, ':') ? "%s" : "nebula://%s", target);
  for (int c = 0; c < connections; c++) {
    nebula_channel *channel = nebula_channel_new(engine, url, NULL, &error);
    if (channel == NULL) fail(error.message);
    if (is_stream) {
      uint64_t method = nebula_channel_method(channel, "/bench.Echo/Stream", NEBULA_BIDI);
      flows[c] = (Flow){.began = calloc((size_t)in_flight, sizeof(int64_t)), .size = (size_t)in_flight};
      flows[c].call = nebula_call_start(queue, method, (uint64_t)&flows[c], 0, NULL, 0, NULL, 0, 0);
      for (int i = 0; i < in_flight; i++) send_one(&flows[c]);
    } else {
      for (int i = 0; i < in_flight; i++) {
        Slot *slot = &slots[c * in_flight + i];
        *slot = (Slot){queue, nebula_channel_method(channel, "/bench.Echo/Unary", NEBULA_UNARY), 0};
        start(slot);
      }
    }
  }
  int64_t began = now_ns(), now = began;
  int64_t warm = began + (int64_t)(length.seconds * 0.1e9), end = began + (int64_t)(length.seconds * 1.1e9);
  while (now < end || count < length.answers) {
    int32_t events = nebula_poll(queue, 1000);
    check(events, NULL);
    const nebula_event *event = nebula_queue_events(queue);
    if (now < warm && now_ns() >= warm) began = now_ns(), count = 0;
    now = now_ns();
    for (int32_t i = 0; i < events; i++, event++) {
      if (event->kind == NEBULA_EV_FINISHED) {
        if (event->status != NEBULA_OK || is_stream) {
          fprintf(stderr, "nebula_peer: status %d: %.*s\n", event->status, (int)event->size, (const char *)event->data);
          return 1;
        }
        Slot *slot = (Slot *)event->tag;
        check_answer(event);
        measured(now - slot->began);
        start(slot);
      } else if (event->kind == NEBULA_EV_MESSAGE) {
        Flow *flow = (Flow *)event->tag;
        check_answer(event);
        measured(now - flow->began[flow->received++ % flow->size]);
        send_one(flow);
      }
    }
  }
  double took = (double)(now - began) / 1e9;
  if (count == 0) fail("nothing was answered");
  /* How long sorting takes depends on the times. */
  if (length.answers > 0) return printf("{\"count\": %zu}\n", count) < 0;
  qsort(latencies, count, sizeof *latencies, by_size);
  printf("{\"count\": %zu, \"seconds\": %.4f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", count, took,
         (double)latencies[count / 2] / 1e3, (double)latencies[count * 99 / 100] / 1e3);
  return 0;
}

int main(int words, char **word) {
  if (words >= 3 && strcmp(word[1], "serve") == 0) {
    bool is_threaded = words == 4 && strcmp(word[3], "threaded") == 0;
    bool has_methods = words == 5 && strcmp(word[3], "methods") == 0;
    if (words == 3 || is_threaded || has_methods) return serve(word[2], is_threaded, has_methods ? atoi(word[4]) : 0);
  }
  bool is_counted = words == 9 && strcmp(word[8], "answers") == 0;
  if ((words == 8 || is_counted) && strcmp(word[1], "load") == 0) {
    Length length = is_counted ? (Length){.answers = strtoul(word[7], NULL, 10)} : (Length){.seconds = atof(word[7])};
    return load(word[2], strcmp(word[3], "stream") == 0, strtoul(word[4], NULL, 10), atoi(word[5]), atoi(word[6]), length);
  }
  fprintf(stderr, "usage: see the head of nebula_peer.c\n");
  return 2;
}
