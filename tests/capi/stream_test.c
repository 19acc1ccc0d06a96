/* tests/capi/stream_test.c - streams through nebula.h: shapes, order, both ends, backpressure, every early ending. */
#include "kit.h"

enum { DOWN = 11, UP = 12, CHAT = 13, HELD = 14 };

typedef struct streams {
  world w;
  uint64_t down, up, chat, held;
  /* the client's call */
  uint64_t call;
  int messages, in_order, headers, writable;
  uint64_t bytes;
  /* the server's call */
  uint64_t served;
  int served_tag, served_messages, served_in_order, served_ended, served_writable;
  uint64_t served_bytes;
  int echoes;               /* CHAT sends each message back */
  uint32_t to_send, sent;   /* DOWN: numbers still to go, while there is room */
} streams;

static uint32_t number_of(const nebula_event *event) {
  uint32_t number = UINT32_MAX;
  if (event->size >= sizeof number) memcpy(&number, event->data, sizeof number);
  return number;
}

/* Sends numbers until all are sent or the engine says that it is full. */
static void send_down(streams *s) {
  while (s->sent < s->to_send) {
    uint32_t number = s->sent++;
    int32_t result = nebula_call_send(s->served, &number, sizeof number, s->sent == s->to_send ? NEBULA_END : 0);
    if (result == NEBULA_FULL) return;
    cr_assert_eq(result, NEBULA_OK, "%s", nebula_strerror(result));
  }
}

static void take_served(streams *s, const nebula_event *event) {
  switch (event->kind) {
    case NEBULA_EV_CALL:
      s->served = event->call;
      s->served_tag = (int)event->tag;
      if (event->tag == DOWN) {
        cr_assert(event->flags & NEBULA_END);
        send_down(s);
      } else {
        cr_assert_null(event->data);
      }
      return;
    case NEBULA_EV_MESSAGE:
      s->served_in_order += number_of(event) == (uint32_t)s->served_messages++;
      s->served_bytes += event->size;
      if (s->echoes) nebula_call_send(event->call, event->data, event->size, 0);
      if (event->flags & NEBULA_END) s->served_ended++;
      return;
    case NEBULA_EV_END: s->served_ended++; return;
    case NEBULA_EV_WRITABLE:
      s->served_writable++;
      if (s->served_tag == DOWN) send_down(s);
      return;
    default: take(&s->w, event);
  }
}

static void take_client(streams *s, const nebula_event *event) {
  switch (event->kind) {
    case NEBULA_EV_HEADERS: s->headers++; return;
    case NEBULA_EV_MESSAGE:
      s->in_order += number_of(event) == (uint32_t)s->messages++;
      s->bytes += event->size;
      return;
    case NEBULA_EV_WRITABLE: s->writable++; return;
    default: take(&s->w, event);
  }
}

static int stream_turn(streams *s, int timeout_ms) {
  int32_t count = nebula_poll(s->w.queue, timeout_ms);
  cr_assert_geq(count, 0);
  const nebula_event *events = nebula_queue_events(s->w.queue);
  for (int32_t i = 0; i < count; i++) (events[i].tag == 7 ? take_client : take_served)(s, &events[i]);
  return count;
}

static void stream_until(streams *s, const int *counter, int goal) {
  for (int turns = 0; *counter < goal && turns < 1000000; turns++)
    if (stream_turn(s, 2000) == 0 && turns > 10) break;
  cr_assert_geq(*counter, goal, "got %d of %d", *counter, goal);
}

/* What is under way arrives; nothing more is expected. Of threaded queues other threads bring it, sooner or later. */
static void settle(streams *s) {
  if (QUEUE_MODE == NEBULA_QUEUE_THREADED)
    for (int quiet = 0; quiet < 10; quiet++)
      while (stream_turn(s, 2) > 0) quiet = 0;
  for (int turns = 0; turns < 200; turns++) stream_turn(s, 0);
}

static void make_streams(streams *s) {
  memset(s, 0, sizeof *s);
  world *w = &s->w;
  nebula_error error = {0};
  nebula_engine_options options = {sizeof options, 0, "mem:", 0};
  w->engine = nebula_engine_new(&options, &error);
  w->queue = new_queue(w->engine, &error);
  w->server = nebula_server_new(w->engine, NULL, &error);
  cr_assert_eq(nebula_server_method(w->server, "/s/Down", NEBULA_SERVER_STREAM, DOWN), 0);
  cr_assert_eq(nebula_server_method(w->server, "/s/Up", NEBULA_CLIENT_STREAM, UP), 0);
  cr_assert_eq(nebula_server_method(w->server, "/s/Chat", NEBULA_BIDI, CHAT), 0);
  cr_assert_eq(nebula_server_method(w->server, "/s/Held", NEBULA_BIDI | NEBULA_HOLD, HELD), 0);
  cr_assert_eq(nebula_server_listen(w->server, "mem:s", NULL, &error), 0);
  cr_assert_eq(nebula_server_start(w->server, &w->queue, 1, &error), 0, "%s", error.message);
  w->channel = nebula_channel_new(w->engine, "mem:s", NULL, &error);
  s->down = nebula_channel_method(w->channel, "/s/Down", NEBULA_SERVER_STREAM);
  s->up = nebula_channel_method(w->channel, "/s/Up", NEBULA_CLIENT_STREAM);
  s->chat = nebula_channel_method(w->channel, "/s/Chat", NEBULA_BIDI);
  s->held = nebula_channel_method(w->channel, "/s/Held", NEBULA_BIDI | NEBULA_HOLD);
  cr_assert(s->down && s->up && s->chat && s->held);
}

static void begin(streams *s, uint64_t method, const void *data, uint32_t size, uint32_t flags) {
  s->call = nebula_call_start(s->w.queue, method, 7, 0, NULL, 0, data, size, flags);
  cr_assert_neq(s->call, 0);
}

/* Sends `count` messages of `size` bytes from number `from` on; heeds NEBULA_FULL. */
static void send_up(streams *s, int from, int count, uint32_t size, uint32_t last_flags) {
  static char message[100000];
  for (int i = 0; i < count; i++) {
    uint32_t number = (uint32_t)(from + i);
    memcpy(message, &number, sizeof number);
    int32_t result = nebula_call_send(s->call, message, size, i + 1 == count ? last_flags : 0);
    cr_assert_geq(result, 0, "%s", nebula_strerror(result));
    int before = s->writable;
    if (result == NEBULA_FULL) stream_until(s, &s->writable, before + 1);
  }
}

Test(stream, of_responses_arrives_whole_and_in_order) {
  streams s;
  make_streams(&s);
  s.to_send = 100000;
  begin(&s, s.down, "go", 2, NEBULA_END);
  stream_until(&s, &s.w.finished, 1);
  cr_assert_eq(s.w.last.status, NEBULA_OK);
  cr_assert_eq(s.w.last.value, NEBULA_FATE_PROCESSED);
  cr_assert_eq(s.messages, 100000);
  cr_assert_eq(s.in_order, 100000);
  cr_assert_gt(s.served_writable, 0, "the sender was never told to wait");
  free_world(&s.w);
}

/* Unlike the answers of many calls, of which a poll brings a few. Threaded queues have what other threads brought so far. */
Test(stream, of_responses_comes_many_at_a_time) {
  streams s;
  make_streams(&s);
  s.to_send = 200;
  begin(&s, s.down, "go", 2, NEBULA_END);
  int most = 0;
  for (int turns = 0; s.messages < 200 && turns < 1000; turns++) {
    int before = s.messages;
    stream_turn(&s, 1000);
    if (s.messages - before > most) most = s.messages - before;
  }
  cr_assert_eq(s.messages, 200);
  cr_assert(most >= 100 || QUEUE_MODE == NEBULA_QUEUE_THREADED, "%d at most", most);
  free_world(&s.w);
}

Test(stream, of_requests_arrives_whole_and_in_order) {
  streams s;
  make_streams(&s);
  begin(&s, s.up, NULL, 0, 0);
  send_up(&s, 0, 100000, 4, NEBULA_END);
  stream_until(&s, &s.served_ended, 1);
  cr_assert_eq(s.served_messages, 100000);
  cr_assert_eq(s.served_in_order, 100000);
  cr_assert_eq(nebula_call_send(s.call, "x", 1, 0), NEBULA_E_STATE, "after its end");
  cr_assert_eq(nebula_call_send(s.served, "sum", 3, NEBULA_END), NEBULA_OK);
  stream_until(&s, &s.w.finished, 1);
  cr_assert_eq(s.w.last.status, NEBULA_OK);
  cr_assert_str_eq(s.w.text, "sum");
  free_world(&s.w);
}

Test(stream, goes_both_ways_at_once) {
  streams s;
  make_streams(&s);
  s.echoes = 1;
  begin(&s, s.chat, NULL, 0, NEBULA_WANT_HEADERS);
  for (int i = 0; i < 500; i++) {
    send_up(&s, i, 1, 1000, 0);
    stream_until(&s, &s.messages, i + 1); /* each is answered while the stream of requests is open */
  }
  cr_assert_eq(s.headers, 1);
  cr_assert_eq(nebula_call_send(s.call, NULL, 0, NEBULA_END), NEBULA_OK);
  stream_until(&s, &s.served_ended, 1);
  static const char trailer[] = "\x05\0\0\0\x02\0\0\0whereto";
  cr_assert_eq(nebula_call_finish(s.served, NEBULA_ABORTED, "enough", trailer, 15), NEBULA_OK);
  stream_until(&s, &s.w.finished, 1);
  cr_assert_eq(s.w.last.status, NEBULA_ABORTED);
  cr_assert_str_eq(s.w.text, "enough");
  cr_assert_eq(s.w.last.metadata_size, 15);
  cr_assert_eq(s.w.last.value, NEBULA_FATE_PROCESSED | NEBULA_FAULT_CALLEE << 8);
  cr_assert_eq(s.in_order, 500);
  free_world(&s.w);
}

Test(stream, may_be_empty_and_may_hold_empty_messages) {
  streams s;
  make_streams(&s);
  begin(&s, s.chat, NULL, 0, NEBULA_END);
  stream_until(&s, &s.served_ended, 1);
  cr_assert_eq(s.served_messages, 0);
  cr_assert_eq(nebula_call_finish(s.served, NEBULA_OK, NULL, NULL, 0), NEBULA_OK);
  stream_until(&s, &s.w.finished, 1);
  cr_assert_eq(s.w.last.status, NEBULA_OK);
  cr_assert_eq(s.messages, 0);

  begin(&s, s.chat, "", 0, 0);
  cr_assert_eq(nebula_call_send(s.call, "", 0, NEBULA_END), NEBULA_OK);
  stream_until(&s, &s.served_ended, 2);
  cr_assert_eq(s.served_messages, 2);
  cr_assert_eq(s.served_bytes, 0);
  cr_assert_eq(nebula_call_send(s.served, "", 0, 0), NEBULA_OK);
  cr_assert_eq(nebula_call_send(s.served, NULL, 0, NEBULA_END), NEBULA_OK);
  stream_until(&s, &s.w.finished, 2);
  cr_assert_eq(s.messages, 1);
  free_world(&s.w);
}

Test(stream, of_large_messages_needs_no_large_window) {
  streams s;
  make_streams(&s);
  s.echoes = 1;
  begin(&s, s.chat, NULL, 0, 0);
  char *message = malloc(4000000);
  for (int i = 0; i < 5; i++) {
    memset(message, i, 4000000);
    memcpy(message, &i, sizeof i);
    cr_assert_geq(nebula_call_send(s.call, message, 4000000, 0), 0);
  }
  stream_until(&s, &s.messages, 5);
  cr_assert_eq(s.in_order, 5);
  cr_assert_eq(s.bytes, 20000000);
  free(message);
  free_world(&s.w);
}

/* With NEBULA_HOLD the sender is stopped until the reader has said that it has dealt with what came. */
Test(stream, that_is_held_stops_its_sender) {
  streams s;
  make_streams(&s);
  begin(&s, s.held, NULL, 0, 0);
  int full = 0, sent = 0;
  static char message[10000];
  for (; sent < 2000 && full < 3; sent++) {
    uint32_t number = (uint32_t)sent;
    memcpy(message, &number, sizeof number);
    full += nebula_call_send(s.call, message, sizeof message, 0) == NEBULA_FULL;
    if (full > 0) settle(&s);
  }
  settle(&s);
  cr_assert_lt(sent, 400, "%d messages of 10,000 bytes went to somebody who does not read", sent);
  int stuck = s.served_messages;
  cr_assert_lt(stuck, sent);
  settle(&s);
  cr_assert_eq(s.served_messages, stuck);
  while (s.served_messages < sent) {
    uint64_t before = s.served_bytes;
    cr_assert_eq(nebula_call_consume(s.served, 10000), NEBULA_OK);
    settle(&s);
    cr_assert_leq(s.served_bytes - before, 300000);
  }
  cr_assert_eq(s.served_in_order, sent);
  cr_assert_gt(s.writable, 0);
  free_world(&s.w);
}

/* What a message costs beside its bytes has the same bound: else empty ones could be sent for ever. */
Test(stream, of_empty_messages_is_held_too) {
  streams s;
  make_streams(&s);
  begin(&s, s.held, NULL, 0, 0);
  int sent = 20000;
  for (int i = 0; i < sent; i++) {
    cr_assert_geq(nebula_call_send(s.call, "", 0, 0), 0);
    if (i % 1000 == 0) settle(&s);
  }
  settle(&s);
  cr_assert_leq(s.served_messages, 2048, "%d messages were handed to somebody who does not read", s.served_messages);
  for (int rounds = 2; s.served_messages < sent; rounds++) {
    int before = s.served_messages;
    cr_assert_eq(nebula_call_consume(s.served, 0), NEBULA_OK);
    settle(&s);
    for (int turns = 0; s.served_messages == before && turns < 1000; turns++) stream_turn(&s, 10);
    cr_assert_gt(s.served_messages, before);
    cr_assert_leq(s.served_messages, 2048 * rounds);
  }
  free_world(&s.w);
}

Test(stream, that_stalls_holds_up_no_other) {
  streams s;
  make_streams(&s);
  for (int i = 0; i < 20; i++) {
    begin(&s, s.held, NULL, 0, 0);
    static char message[100000];
    for (int j = 0; j < 20; j++) cr_assert_geq(nebula_call_send(s.call, message, sizeof message, 0), 0);
  }
  settle(&s);
  s.echoes = 1;
  s.served_messages = 0;
  begin(&s, s.chat, NULL, 0, 0);
  send_up(&s, 0, 100, 50000, 0);
  stream_until(&s, &s.messages, 100);
  free_world(&s.w);
}

Test(stream, that_the_server_ends_early_stops_the_client) {
  streams s;
  make_streams(&s);
  begin(&s, s.up, NULL, 0, 0);
  send_up(&s, 0, 1, 10, 0);
  stream_until(&s, &s.served_messages, 1);
  cr_assert_eq(nebula_call_finish(s.served, NEBULA_PERMISSION_DENIED, "no", NULL, 0), NEBULA_OK);
  stream_until(&s, &s.w.finished, 1);
  cr_assert_eq(s.w.last.status, NEBULA_PERMISSION_DENIED);
  cr_assert_eq(s.w.last.value, NEBULA_FATE_PROCESSED | NEBULA_FAULT_CALLER << 8);
  cr_assert_eq(nebula_call_send(s.call, "x", 1, 0), NEBULA_E_STALE);
  settle(&s);
  cr_assert_eq(s.served_messages, 1);
  free_world(&s.w);
}

Test(stream, that_the_client_cancels_tells_the_handler) {
  streams s;
  make_streams(&s);
  s.to_send = 0;
  begin(&s, s.down, "go", 2, NEBULA_END);
  while (s.served == 0) stream_turn(&s, 1000);
  uint32_t number = 0;
  cr_assert_eq(nebula_call_send(s.served, &number, 4, 0), NEBULA_OK);
  stream_until(&s, &s.messages, 1);
  cr_assert_eq(nebula_call_cancel(s.call, NEBULA_CANCELLED), NEBULA_OK);
  stream_until(&s, &s.w.finished, 1);
  cr_assert_eq(s.w.last.status, NEBULA_CANCELLED);
  for (int turns = 0; s.w.cancelled_call == 0 && turns < 100; turns++) stream_turn(&s, 100);
  cr_assert_eq(s.w.cancelled_call, s.served);
  cr_assert_eq(nebula_call_send(s.served, &number, 4, 0), NEBULA_E_STALE);
  free_world(&s.w);
}

Test(stream, ends_with_its_deadline_at_both_ends) {
  streams s;
  make_streams(&s);
  s.call = nebula_call_start(s.w.queue, s.chat, 7, 50000, NULL, 0, "1234", 4, 0);
  stream_until(&s, &s.w.finished, 1);
  cr_assert_eq(s.w.last.status, NEBULA_DEADLINE_EXCEEDED);
  for (int turns = 0; s.w.cancelled_call == 0 && turns < 100; turns++) stream_turn(&s, 100);
  cr_assert_eq(s.w.cancelled_call, s.served);
  free_world(&s.w);
}

/* Its client holds more than it may and says nothing; it still hears of the end, whichever comes. */
Test(stream, that_nobody_reads_ends_all_the_same) {
  for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
    streams s;
    make_streams(&s);
    s.echoes = 1;
    s.call = nebula_call_start(s.w.queue, s.held, 7, by_deadline ? 300000 : 0, NULL, 0, NULL, 0, 0);
    static char message[100000];
    for (int i = 0; i < 5; i++) cr_assert_geq(nebula_call_send(s.call, message, sizeof message, 0), 0);
    for (int turns = 0; turns < 1000 || (s.bytes <= 200000 && turns < 1000000); turns++) {
      stream_turn(&s, 0);
      if (s.served_bytes > 0) nebula_call_consume(s.served, sizeof message);
    }
    cr_assert_gt(s.bytes, 200000, "got %d messages", s.messages);
    if (!by_deadline) nebula_call_cancel(s.call, NEBULA_CANCELLED);
    stream_until(&s, &s.w.finished, 1);
    cr_assert_eq(s.w.last.status, by_deadline ? NEBULA_DEADLINE_EXCEEDED : NEBULA_CANCELLED);
    free_world(&s.w);
  }
}

Test(stream, that_is_open_when_all_is_freed_leaks_nothing) {
  streams s;
  make_streams(&s);
  for (int i = 0; i < 10; i++) {
    begin(&s, i % 2 ? s.chat : s.held, "1234", 4, 0);
    send_up(&s, 0, 10, 1000, i % 3 ? 0 : NEBULA_END);
    stream_turn(&s, 0);
  }
  settle(&s);
  free_world(&s.w);
}

Test(stream, refuses_what_does_not_fit_its_shape) {
  streams s;
  make_streams(&s);
  cr_assert_eq(nebula_call_start(s.w.queue, s.down, 7, 0, NULL, 0, "x", 1, 0), 0, "one request, so END must be set");
  begin(&s, s.down, "x", 1, NEBULA_END);
  cr_assert_eq(nebula_call_send(s.call, "x", 1, 0), NEBULA_E_STATE);
  while (s.served == 0) stream_turn(&s, 1000);
  s.served = 0;
  begin(&s, s.up, NULL, 0, 0);
  cr_assert_eq(nebula_call_send(s.call, NULL, 0, 0), NEBULA_E_ARGUMENT);
  while (s.served == 0) stream_turn(&s, 1000);
  cr_assert_eq(nebula_call_send(s.served, NULL, 0, NEBULA_END), NEBULA_E_STATE, "one response must come");
  nebula_call_info info = {.size = sizeof info};
  cr_assert_eq(nebula_call_describe(s.served, &info), 0);
  cr_assert_eq(info.shape, NEBULA_CLIENT_STREAM);
  free_world(&s.w);
}
