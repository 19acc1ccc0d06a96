/* bindings/c/work.c - a handler as a state machine: one thread has all calls, and none may block it. */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"

typedef struct item { Ask *ask; uint32_t size; struct item *next; } item; /* a request that came */

typedef struct work {
  uint64_t call, relayed_call;
  int method;
  const relay *relay;
  enum { TAKING, WAITING, RELAYING, FULL } state;
  bool has_begun, has_ended;     /* the first request was taken; the last one has come */
  int64_t due_us, deadline_us;   /* WAITING until; 0: none */
  Ask *first, *ask;              /* what the handler does, and what it answers */
  Answer *relayed;
  item *inbox, **inbox_end;
  uint8_t *metadata;
  uint32_t metadata_size;
  uint64_t index, bytes;
  memory *memory, unnamed;       /* unnamed: where the call has no key */
  struct work *next;
} work;

static work *works;
static memory *memories;

memory *recall(const char *key) {
  memory *found = memories;
  while (found != NULL && strcmp(found->key, key) != 0) found = found->next;
  return found;
}

static memory *remember(work *work, const char *key) {
  if (*key == '\0') return &work->unnamed;
  memory *made = must(calloc(1, sizeof *made));
  made->key = must(strdup(key));
  made->state = "running";
  made->next = memories; /* before an older one of that key, which its call may still write to */
  return memories = made;
}

static work *find(uint64_t call) {
  work *found = works;
  while (found != NULL && found->call != call) found = found->next;
  return found;
}

/* The call is over, and nobody looks at this again. */
static void end(work *work, const char *state) {
  struct work **at = &works;
  while (*at != work) at = &(*at)->next;
  *at = work->next;
  if (work->memory != NULL) work->memory->state = state;
  if (work->relayed_call != 0) nebula_call_cancel(work->relayed_call, NEBULA_CANCELLED);
  if (work->ask != work->first) nebula_message_free((ProtobufCMessage *)work->ask);
  for (item *next; work->inbox != NULL; work->inbox = next) {
    next = work->inbox->next;
    nebula_message_free(&work->inbox->ask->base);
    free(work->inbox);
  }
  nebula_message_free((ProtobufCMessage *)work->first);
  nebula_message_free((ProtobufCMessage *)work->relayed);
  free(work->metadata);
  free(work);
}

static void finish(work *work, int32_t status, const char *message) {
  text block = {0};
  for (size_t i = 0; i < work->first->n_trailers; i++) {
    const Pair *pair = work->first->trailers[i];
    if (is_binary(pair->name, strlen(pair->name))) put_field(&block, pair->name, pair->data.data, pair->data.len);
    else put_field(&block, pair->name, pair->text, strlen(pair->text));
  }
  nebula_call_finish(work->call, status, message, block.data, (uint32_t)block.size);
  free(block.data);
  end(work, "finished");
}

static void send_headers(const work *work) {
  text block = {0};
  for (size_t i = 0; i < work->first->n_headers; i++) {
    const Pair *pair = work->first->headers[i];
    if (is_binary(pair->name, strlen(pair->name))) put_field(&block, pair->name, pair->data.data, pair->data.len);
    else put_field(&block, pair->name, pair->text, strlen(pair->text));
  }
  if (block.size > 0) nebula_call_headers(work->call, block.data, (uint32_t)block.size);
  free(block.data);
}

/* ---- the answer */

static Pair *pair_of(const field *field) {
  Pair *pair = must(malloc(sizeof *pair));
  nebula__test__v1__pair__init(pair);
  pair->name = must(strndup(field->name, field->name_size));
  if (is_binary(field->name, field->name_size)) {
    pair->data.data = must(malloc(field->value_size + 1));
    pair->data.len = field->value_size;
    memcpy(pair->data.data, field->value, field->value_size);
  } else {
    pair->text = must(strndup(field->value, field->value_size));
  }
  return pair;
}

static void add_metadata(Answer *answer, const work *work) {
  field field;
  for (const uint8_t *at = work->metadata, *end = at + work->metadata_size; next_field(&at, end, &field);) {
    if (!is_ours(&field)) continue;
    answer->metadata = must(realloc(answer->metadata, (answer->n_metadata + 1) * sizeof *answer->metadata));
    answer->metadata[answer->n_metadata++] = pair_of(&field);
  }
}

/* Texts and payload are lent by the request; free_answer what is not. */
static Answer make_answer(const work *work) {
  Answer answer = NEBULA__TEST__V1__ANSWER__INIT;
  answer.payload = work->ask->payload;
  if (work->first->answer_size > 0) {
    answer.payload.len = work->first->answer_size;
    answer.payload.data = must(calloc(1, answer.payload.len));
  }
  answer.text = work->ask->text;
  answer.number = work->ask->number;
  answer.left_ms = work->deadline_us == 0 ? -1 : (work->deadline_us - now_us()) / 1000;
  answer.received = work->memory->received;
  answer.received_bytes = work->bytes;
  answer.index = work->index;
  if (work->index == 0) answer.relayed = work->relayed;
  add_metadata(&answer, work);
  return answer;
}

static void free_answer(const work *work, Answer *answer) {
  if (work->first->answer_size > 0) free(answer->payload.data);
  for (size_t i = 0; i < answer->n_metadata; i++) nebula_message_free(&answer->metadata[i]->base);
  free(answer->metadata);
}

static int32_t send_answer(work *work, uint32_t flags) {
  Answer answer = make_answer(work);
  int32_t result = nebula_message_send(work->call, &answer.base, flags);
  free_answer(work, &answer);
  work->index++;
  return result;
}

/* ---- the steps */

static void step_take(work *work);
static void step_wait(work *work);

static void step_end(work *work) {
  if (work->first->status != 0) return finish(work, work->first->status, work->first->message);
  if (work->method == UNARY || work->method == COLLECT) {
    int32_t result = send_answer(work, 0);
    if (result < 0 && result != NEBULA_E_STALE) return finish(work, NEBULA_INTERNAL, nebula_strerror(result));
    work->memory->sent++;
  }
  finish(work, NEBULA_OK, NULL);
}

static void step_next(work *work) {
  if (work->method == PRODUCE) return work->index < work->first->answers ? step_wait(work) : step_end(work);
  return work->first->early ? step_end(work) : step_take(work);
}

static void step_answer(work *work) {
  if (work->method == UNARY || work->method == COLLECT) return step_end(work);
  if (send_answer(work, 0) == NEBULA_FULL) {
    work->state = FULL;
    return;
  }
  work->memory->sent++;
  step_next(work);
}

/* C has no context that a call would inherit from: what a handler has left it hands on as a timeout. */
static uint64_t relay_timeout_us(const work *work) {
  int64_t own = work->first->relay_timeout_ms * 1000ll;
  int64_t left = work->deadline_us == 0 || work->first->detached ? 0 : work->deadline_us - now_us();
  if (left == 0) return (uint64_t)own;
  if (left < 1) return 1;
  return (uint64_t)(own == 0 || left < own ? left : own);
}

static void step_relay(work *work) {
  if (work->first->relay == NULL || work->index > 0) return step_answer(work);
  work->state = RELAYING;
  work->relayed_call = nebula_message_start(work->relay->queue, work->relay->method, work->call | RELAYED,
                                            relay_timeout_us(work), NULL, 0, &work->first->relay->base, NEBULA_END);
  if (work->relayed_call == 0) finish(work, NEBULA_INTERNAL, "the relayed call could not be started");
}

static void step_wait(work *work) {
  if (work->first->delay_ms == 0) return step_relay(work);
  work->state = WAITING;
  work->due_us = now_us() + work->first->delay_ms * 1000ll;
}

static void begin(work *work, Ask *first) {
  work->has_begun = true;
  work->first = first;
  work->memory = remember(work, first->key);
  send_headers(work);
}

static void take_one(work *work) {
  item *item = work->inbox;
  work->inbox = item->next;
  if (work->inbox == NULL) work->inbox_end = &work->inbox;
  if (work->method == COLLECT || work->method == CHAT) nebula_call_consume(work->call, item->size);
  if (work->ask != work->first) nebula_message_free((ProtobufCMessage *)work->ask);
  if (!work->has_begun) begin(work, item->ask);
  work->ask = item->ask;
  work->memory->received++;
  work->bytes += item->ask->payload.len;
  free(item);
}

/* Waits for a request, or for their end. */
static void step_take(work *work) {
  work->state = TAKING;
  while (work->inbox != NULL) {
    take_one(work);
    if (work->method == PRODUCE && work->first->answers == 0) return step_end(work);
    if (work->method != COLLECT) return step_wait(work);
    if (work->first->early) break;
    if (work->ask != work->first) nebula_message_free((ProtobufCMessage *)work->ask);
    work->ask = work->first;
  }
  if (work->has_begun && work->method == COLLECT && work->first->early) return step_wait(work);
  if (!work->has_ended) return;
  if (!work->has_begun) begin(work, (Ask *)message_from_json(NULL, ASK));
  if (work->ask == NULL) work->ask = work->first;
  work->method == COLLECT ? step_wait(work) : step_end(work);
}

/* ---- events */

static void receive(work *work, const nebula_event *event) {
  if (event->data != NULL) {
    Ask *ask = (Ask *)nebula_message_request(event, ASK);
    if (ask == NULL) return end(work, "finished");
    item *last = must(calloc(1, sizeof *last));
    last->ask = ask;
    last->size = event->size;
    *work->inbox_end = last;
    work->inbox_end = &last->next;
  }
  if (event->kind == NEBULA_EV_END || event->flags & NEBULA_END) work->has_ended = true;
  if (work->state == TAKING) step_take(work);
}

void work_begin(const nebula_event *event, const relay *relay) {
  if (!nebula_message_speaks_protobuf(event)) return;
  work *work = must(calloc(1, sizeof *work));
  work->call = event->call;
  work->method = (int)event->tag;
  work->relay = relay;
  work->deadline_us = event->value == 0 ? 0 : now_us() + (int64_t)event->value;
  work->inbox_end = &work->inbox;
  work->metadata = must(malloc(event->metadata_size + 1));
  work->metadata_size = event->metadata_size;
  if (event->metadata_size > 0) memcpy(work->metadata, event->metadata, event->metadata_size);
  work->next = works;
  works = work;
  if (event->data != NULL || event->flags & NEBULA_END) receive(work, event);
}

static void on_relayed(work *work, const nebula_event *event) {
  work->relayed_call = 0;
  if (event->status != NEBULA_OK) {
    text message = {0};
    put(&message, (const char *)event->data, event->data != NULL ? event->size : 0);
    finish(work, event->status, message.data);
    free(message.data);
    return;
  }
  work->relayed = (Answer *)nebula_message_of(event, ANSWER);
  step_answer(work);
}

void work_event(const nebula_event *event) {
  work *work = find(event->kind == NEBULA_EV_FINISHED ? event->tag & ~RELAYED : event->call);
  if (work == NULL) return;
  if (event->kind == NEBULA_EV_MESSAGE || event->kind == NEBULA_EV_END) receive(work, event);
  if (event->kind == NEBULA_EV_CANCELLED) end(work, "cancelled");
  if (event->kind == NEBULA_EV_FINISHED) on_relayed(work, event);
  if (event->kind == NEBULA_EV_WRITABLE && work->state == FULL) {
    work->memory->sent++;
    step_next(work);
  }
}

int64_t work_timers(void) {
  int64_t now = now_us(), next = -1;
  for (work *work = works, *after; work != NULL; work = after) {
    after = work->next; /* a step may end this one, and no other */
    if (work->state == WAITING && work->due_us <= now) step_relay(work);
  }
  for (const work *work = works; work != NULL; work = work->next) /* whose step was to wait again, too */
    if (work->state == WAITING && (next < 0 || work->due_us - now < next)) next = work->due_us - now;
  return next;
}
