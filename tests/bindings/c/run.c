/* bindings/c/run.c - sends, reads, pauses and cancels as the case says. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"

enum { SHOWN_MAX = 20 }; /* answers of a result; of more only the first and the last */

typedef struct item { uint8_t *data; uint32_t size; struct item *next; } item; /* an answer that came */

typedef struct request { ProtobufCMessage *message; text bytes; int64_t times; } request; /* bytes: of the codec json */

struct run {
  const json *given;
  uint64_t call;
  int32_t shape;
  bool is_json;
  request *requests;
  size_t n_requests;
  size_t at;                /* the request that is sent next, and how often it has been */
  int64_t at_times;
  enum { SENDING, FULL, READING, OVER } state;
  bool is_read_due;         /* pingpong: an answer is to be read before the next request */
  bool has_finished, has_dropped;
  int64_t began_us, took_us, cancel_us, pause_us; /* when; 0: not */
  item *inbox, **inbox_end;
  size_t count, sent;
  text answers[SHOWN_MAX], last; /* the first ones, and the last where there are more */
  text headers, trailers, message;
  int32_t status;
  uint32_t fate, fault;
  bool is_late_taken;
};

static const char *word_of_fate(uint32_t fate) {
  static const char *words[] = {"unsent", "unprocessed", "unknown", "processed"};
  return words[fate & 3];
}

static const char *word_of_fault(uint32_t fault) {
  static const char *words[] = {"none", "caller", "network", "callee", "overload"};
  return fault < 5 ? words[fault] : "?";
}

/* ---- what the case says */

static int32_t shape_of(const char *method) {
  if (strcmp(method, "Collect") == 0) return NEBULA_CLIENT_STREAM;
  if (strcmp(method, "Produce") == 0) return NEBULA_SERVER_STREAM | NEBULA_HOLD;
  if (strcmp(method, "Chat") == 0) return NEBULA_BIDI | NEBULA_HOLD;
  return NEBULA_UNARY;
}

static bool streams_requests(const run *run) { return (run->shape & NEBULA_CLIENT_STREAM) != 0; }

/* "answers:3" of a field, with 3 answers read. */
static bool is_now(const run *run, const char *field) {
  const char *value = json_text(run->given, field);
  return strncmp(value, "answers:", 8) == 0 && strtoull(value + 8, NULL, 10) == run->count;
}

static void make_requests(run *run) {
  const json *asks = json_find(run->given, "asks");
  for (const json *ask = asks != NULL ? asks->first : NULL; ask != NULL; ask = ask->next) {
    run->requests = must(realloc(run->requests, (run->n_requests + 1) * sizeof *run->requests));
    request *made = &run->requests[run->n_requests++];
    *made = (request){.times = json_number(ask, "times", 1)};
    if (run->is_json) json_print(&made->bytes, ask, "times");
    else made->message = message_from_json(ask, ASK);
  }
}

static text make_metadata(const json *given) {
  text block = {0};
  const json *pairs = json_find(given, "metadata");
  for (const json *pair = pairs != NULL ? pairs->first : NULL; pair != NULL; pair = pair->next) {
    const json *data = json_find(pair, "data"), *words = json_find(pair, "text");
    if (data != NULL) {
      size_t size;
      uint8_t *bytes = json_bytes(data, &size);
      put_field(&block, json_text(pair, "name"), bytes, size);
      free(bytes);
    } else {
      put_field(&block, json_text(pair, "name"), words->value, words->size);
    }
  }
  return block;
}

static uint32_t flags_of(const json *given) {
  const char *compression = json_text(given, "compression");
  return NEBULA_WANT_HEADERS | (json_flag(given, "wait_for_ready") ? NEBULA_WAIT_FOR_READY : 0) |
         (json_flag(given, "idempotent") ? NEBULA_IDEMPOTENT : 0) |
         (strcmp(compression, "gzip") == 0 ? NEBULA_GZIP | NEBULA_COMPRESS : 0) |
         (strcmp(compression, "zstd") == 0 ? NEBULA_ZSTD | NEBULA_COMPRESS : 0);
}

/* ---- its steps */

static void begin(run *run, const line *line) {
  const char *method = json_text(run->given, "method");
  char path[256];
  snprintf(path, sizeof path, "%s%s", *method == '/' ? "" : "/" SERVICE "/", method);
  uint64_t number = nebula_channel_method(line->channel, path, run->shape);
  uint64_t timeout_us = (uint64_t)json_number(run->given, "timeout_ms", 0) * 1000, tag = (uintptr_t)run;
  uint32_t flags = flags_of(run->given) | (streams_requests(run) ? 0 : NEBULA_END);
  text metadata = make_metadata(run->given);
  const request *first = streams_requests(run) ? NULL : run->requests;
  if (run->is_json)
    run->call = nebula_call_start(line->queue, number, tag, timeout_us, metadata.data, (uint32_t)metadata.size,
                                  first != NULL ? first->bytes.data : NULL,
                                  first != NULL ? (uint32_t)first->bytes.size : 0, flags | NEBULA_JSON);
  else
    run->call = nebula_message_start(line->queue, number, tag, timeout_us, metadata.data, (uint32_t)metadata.size,
                                     first != NULL ? first->message : NULL, flags);
  free(metadata.data);
  run->state = streams_requests(run) ? SENDING : READING;
}

static int32_t send_request(run *run, const request *request) {
  const uint32_t flags = flags_of(run->given) & NEBULA_COMPRESS;
  return run->is_json ? nebula_call_send(run->call, request->bytes.data, (uint32_t)request->bytes.size, flags)
                      : nebula_message_send(run->call, request->message, flags);
}

static void send_all(run *run) {
  while (run->state == SENDING && !run->is_read_due) {
    if (run->at == run->n_requests) {
      if (!json_flag(run->given, "keep_open")) nebula_call_send(run->call, NULL, 0, NEBULA_END);
      run->state = READING;
      return;
    }
    const request *next = &run->requests[run->at];
    int32_t result = send_request(run, next);
    if (result < 0) run->state = READING; /* it says how the call ended */
    if (result == NEBULA_FULL) run->state = FULL;
    if (result == NEBULA_OK) run->sent++;
    if (++run->at_times == next->times) {
      run->at++;
      run->at_times = 0;
    }
    run->is_read_due = json_flag(run->given, "pingpong");
  }
}

static void keep(run *run, const uint8_t *data, uint32_t size) {
  text *shown = run->count < SHOWN_MAX ? &run->answers[run->count] : &run->last;
  run->count++;
  shown->size = 0;
  if (run->is_json) {
    put(shown, (const char *)data, size);
    return;
  }
  ProtobufCMessage *answer = protobuf_c_message_unpack(ANSWER, NULL, size, data);
  if (answer != NULL) put_message(shown, answer);
  else put_text(shown, "null");
  nebula_message_free(answer);
}

static void cancel(run *run) { nebula_call_cancel(run->call, NEBULA_CANCELLED); }

static void read_one(run *run) {
  item *item = run->inbox;
  run->inbox = item->next;
  if (run->inbox == NULL) run->inbox_end = &run->inbox;
  keep(run, item->data, item->size);
  nebula_call_consume(run->call, item->size);
  free(item->data);
  free(item);
  run->is_read_due = false;
  if ((int64_t)run->count == json_number(run->given, "read", -1))
    run->pause_us = now_us() + json_number(run->given, "pause_ms", 0) * 1000;
  run->has_dropped = is_now(run, "drop");
  if (run->has_dropped) {
    run->state = OVER;
    cancel(run); /* all that letting go can be in C */
  } else if (is_now(run, "cancel") && run->pause_us == 0) {
    cancel(run);
  }
}

static void read_all(run *run) {
  while (run->pause_us == 0 && run->inbox != NULL) {
    if (run->state != READING && !(run->state == SENDING && run->is_read_due)) return;
    read_one(run);
  }
}

static void advance(run *run) {
  do {
    send_all(run);
    read_all(run);
  } while (run->state == SENDING && !run->is_read_due && run->pause_us == 0);
  if (!run->has_finished || run->inbox != NULL || run->pause_us != 0 || run->state == OVER) return;
  run->state = OVER;
  run->took_us = now_us() - run->began_us;
  if (strcmp(json_text(run->given, "cancel"), "end") == 0) cancel(run);
  if (json_flag(run->given, "send_after_end")) run->is_late_taken = nebula_call_send(run->call, "", 0, 0) >= 0;
}

run *run_start(const line *line, const json *given) {
  run *run = must(calloc(1, sizeof *run));
  run->given = given;
  run->inbox_end = &run->inbox;
  run->shape = shape_of(json_text(given, "method"));
  run->is_json = strcmp(json_text(given, "codec"), "json") == 0;
  run->began_us = now_us();
  make_requests(run);
  const char *when = json_text(given, "cancel");
  if (strncmp(when, "ms:", 3) == 0) run->cancel_us = run->began_us + strtoll(when + 3, NULL, 10) * 1000;
  begin(run, line);
  if (run->call == 0) { /* the engine has not taken it: metadata that cannot be, no memory */
    run->has_finished = true;
    run->status = NEBULA_INVALID_ARGUMENT;
    run->fault = NEBULA_FAULT_CALLER;
  }
  if (strcmp(when, "start") == 0) cancel(run);
  advance(run);
  return run;
}

void run_free(run *run) {
  for (size_t i = 0; i < run->n_requests; i++) {
    nebula_message_free(run->requests[i].message);
    free(run->requests[i].bytes.data);
  }
  for (item *next; run->inbox != NULL; run->inbox = next) {
    next = run->inbox->next;
    free(run->inbox->data);
    free(run->inbox);
  }
  for (size_t i = 0; i < SHOWN_MAX; i++) free(run->answers[i].data);
  free(run->last.data);
  free(run->headers.data);
  free(run->trailers.data);
  free(run->message.data);
  free(run->requests);
  free(run);
}

static void receive(run *run, const nebula_event *event) {
  item *last = must(calloc(1, sizeof *last));
  last->data = must(malloc(event->size + 1));
  last->size = event->size;
  if (event->size > 0) memcpy(last->data, event->data, event->size);
  *run->inbox_end = last;
  run->inbox_end = &last->next;
}

static void on_finished(run *run, const nebula_event *event) {
  run->has_finished = true;
  run->status = event->status;
  run->fate = event->value & 255;
  run->fault = event->value >> 8 & 255;
  put_metadata(&run->trailers, event->metadata, event->metadata_size);
  if (event->status != NEBULA_OK && event->data != NULL) put(&run->message, (const char *)event->data, event->size);
  if (event->status == NEBULA_OK && event->data != NULL) receive(run, event);
  run->is_read_due = false;
  if (run->state != OVER) run->state = READING;
}

void run_event(run *run, const nebula_event *event) {
  if (event->kind == NEBULA_EV_HEADERS) put_metadata(&run->headers, event->metadata, event->metadata_size);
  if (event->kind == NEBULA_EV_MESSAGE) receive(run, event);
  if (event->kind == NEBULA_EV_FINISHED) on_finished(run, event);
  if (event->kind == NEBULA_EV_WRITABLE && run->state == FULL) {
    run->sent++;
    run->state = SENDING;
  }
  advance(run);
}

/* A call that was let go has its last event before it, still. */
bool run_is_over(const run *run) { return run->state == OVER && run->has_finished; }

int32_t run_code(const run *run) { return run->status; }

int64_t run_timers(run *run) {
  const int64_t now = now_us();
  if (run->cancel_us != 0 && run->cancel_us <= now) {
    run->cancel_us = 0;
    cancel(run);
  }
  if (run->pause_us != 0 && run->pause_us <= now) {
    run->pause_us = 0;
    if (is_now(run, "cancel")) cancel(run);
    advance(run);
  }
  int64_t next = run->cancel_us != 0 && !run->has_finished ? run->cancel_us : INT64_MAX;
  if (run->pause_us != 0 && run->pause_us < next) next = run->pause_us;
  return next == INT64_MAX ? -1 : next - now;
}

static void put_answers(const run *run, text *out) {
  put_text(out, ",\"answers\":[");
  for (size_t i = 0; i < SHOWN_MAX && i < run->count; i++) {
    if (run->count > SHOWN_MAX && i > 0) break;
    put_text(out, i > 0 ? "," : "");
    put(out, run->answers[i].data, run->answers[i].size);
  }
  if (run->count > SHOWN_MAX) {
    put_text(out, ",");
    put(out, run->last.data, run->last.size);
  }
  put_text(out, "]");
}

void run_result(const run *run, text *out) {
  if (!run->has_dropped) put_format(out, ",\"code\":%d", run->status);
  if (!run->has_dropped && run->status != NEBULA_OK) {
    put_text(out, ",\"message\":");
    put_quoted(out, run->message.data, run->message.size);
    put_format(out, ",\"fate\":\"%s\",\"fault\":\"%s\"", word_of_fate(run->fate), word_of_fault(run->fault));
  }
  put_answers(run, out);
  put_format(out, ",\"count\":%zu,\"sent\":%zu,\"took_ms\":%.3f", run->count, run->sent, (double)run->took_us / 1000);
  put_text(out, ",\"headers\":");
  put_text(out, run->headers.data != NULL ? run->headers.data : "[]");
  put_text(out, ",\"trailers\":");
  put_text(out, run->trailers.data != NULL ? run->trailers.data : "[]");
  if (json_flag(run->given, "send_after_end"))
    put_format(out, ",\"late\":\"%s\"", run->is_late_taken ? "ignored" : "error");
}
