/* tests/capi/compress_test.c - which messages go compressed: the words of a limit that they exceed tell. */
#include "kit.h"

enum { LIMIT = 1000, CHAT = 21 };

static const char over_compressed[] = "a compressed message is larger than the limit of 1000 bytes";
static const char over_plain[] = "a message of 5000 bytes is over the limit of 1000";

/* A message of 5000 bytes, which compression makes small. */
static const char *large(void) {
  static char text[5001];
  memset(text, 'm', 5000);
  return text;
}

static nebula_server_options of_server(uint32_t max_message, uint32_t compression) {
  nebula_server_options options = {.size = sizeof options, .max_message = max_message, .compression = compression};
  return options;
}

static nebula_channel_options of_channel(uint32_t max_message, uint32_t compression) {
  nebula_channel_options options = {.size = sizeof options, .max_message = max_message, .compression = compression};
  return options;
}

static world world_of(nebula_server_options server, nebula_channel_options channel) {
  return make_world_with("mem:", "mem:test", "mem:test", &server, &channel);
}

static void start_large(world *w, uint32_t flags) {
  int before = w->finished;
  cr_assert_neq(nebula_call_start(w->queue, w->echo, 7, 0, NULL, 0, large(), 5000, NEBULA_END | flags), 0);
  turn_until(w, &w->finished, before + 1);
}

Test(compress, is_of_the_requests_that_ask_for_it_where_the_call_has_a_compression) {
  struct {
    uint32_t of_channel, flags;
    const char *says;
  } rows[] = {
      {0, 0, over_plain},
      {0, NEBULA_COMPRESS, over_plain},
      {0, NEBULA_GZIP, over_plain},
      {0, NEBULA_COMPRESS | NEBULA_GZIP, over_compressed},
      {NEBULA_GZIP, 0, over_plain},
      {NEBULA_GZIP, NEBULA_COMPRESS, over_compressed},
      {NEBULA_GZIP, NEBULA_COMPRESS | NEBULA_ZSTD, over_compressed},
      {NEBULA_ZSTD, NEBULA_COMPRESS, over_compressed},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    world w = world_of(of_server(LIMIT, 0), of_channel(0, rows[i].of_channel));
    start_large(&w, rows[i].flags);
    cr_assert_eq(w.last.status, NEBULA_RESOURCE_EXHAUSTED);
    cr_assert(has_text(&w, rows[i].says), "row %zu: %s", i, w.text);
    free_world(&w);
  }
}

Test(compress, is_of_the_responses_that_ask_for_it_where_the_server_has_a_compression) {
  struct {
    uint32_t of_server, flags;
    const char *says;
  } rows[] = {
      {0, 0, over_plain},
      {0, NEBULA_COMPRESS, over_plain},
      {NEBULA_ZSTD, 0, over_plain},
      {NEBULA_GZIP, NEBULA_COMPRESS, over_compressed},
      {NEBULA_ZSTD, NEBULA_COMPRESS, over_compressed},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    world w = world_of(of_server(0, rows[i].of_server), of_channel(LIMIT, 0));
    w.answer_flags = rows[i].flags;
    start_large(&w, 0);
    cr_assert_eq(w.last.status, NEBULA_RESOURCE_EXHAUSTED);
    cr_assert(has_text(&w, rows[i].says), "row %zu: %s", i, w.text);
    free_world(&w);
  }
}

Test(compress, brings_messages_over_whole) {
  for (uint32_t compression = NEBULA_GZIP; compression <= NEBULA_ZSTD; compression *= 2) {
    world w = world_of(of_server(0, compression), of_channel(0, compression));
    w.answer_flags = NEBULA_COMPRESS;
    start_large(&w, NEBULA_COMPRESS);
    cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
    cr_assert(w.last.size == 5000 && memcmp(w.last.data, large(), 5000) == 0);
    free_world(&w);
  }
}

Test(compress, is_decided_for_each_message_of_a_stream) {
  for (int is_compressed = 0; is_compressed <= 1; is_compressed++) {
    nebula_error error = {0};
    world w = make_world();
    nebula_server_options limited = of_server(LIMIT, 0);
    nebula_server *server = nebula_server_new(w.engine, &limited, &error);
    cr_assert_eq(nebula_server_method(server, "/test.Echo/Chat", NEBULA_BIDI, CHAT), 0);
    cr_assert_eq(nebula_server_listen(server, "mem:chat", NULL, &error), 0, "%s", error.message);
    cr_assert_eq(nebula_server_start(server, &w.queue, 1, &error), 0, "%s", error.message);
    nebula_channel *channel = nebula_channel_new(w.engine, "mem:chat", NULL, &error);
    uint64_t chat = nebula_channel_method(channel, "/test.Echo/Chat", NEBULA_BIDI);
    uint64_t call = nebula_call_start(w.queue, chat, 7, 0, NULL, 0, large(), 900, NEBULA_GZIP | NEBULA_COMPRESS);
    cr_assert_neq(call, 0);
    turn_until(&w, &w.served, 1);
    cr_assert_eq(nebula_call_send(call, large(), 5000, is_compressed ? NEBULA_COMPRESS : 0), 0);
    turn_until(&w, &w.finished, 1);
    cr_assert(has_text(&w, is_compressed ? over_compressed : over_plain), "%s", w.text);
    nebula_channel_free(channel);
    nebula_server_free(server);
    free_world(&w);
  }
}

Test(compress, takes_one_compression_at_a_time_and_where_it_belongs) {
  nebula_error error = {0};
  world w = make_world();
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 7, 0, NULL, 0, "x", 1, NEBULA_END | NEBULA_GZIP | NEBULA_ZSTD), 0);
  cr_assert_eq(nebula_call_send(1, "x", 1, NEBULA_GZIP), NEBULA_E_ARGUMENT);
  for (uint32_t wrong = 1; wrong <= 1024; wrong *= 2) {
    if (wrong == NEBULA_GZIP || wrong == NEBULA_ZSTD) continue;
    nebula_server_options server = of_server(0, wrong);
    nebula_channel_options channel = of_channel(0, wrong);
    cr_assert_null(nebula_server_new(w.engine, &server, &error));
    cr_assert_eq(error.code, NEBULA_E_ARGUMENT);
    cr_assert_null(nebula_channel_new(w.engine, "mem:test", &channel, &error));
    cr_assert_eq(error.code, NEBULA_E_ARGUMENT);
  }
  free_world(&w);
}
