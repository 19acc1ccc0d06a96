/* tests/capi/options_test.c - the options of a connection's life, seen from a client that speaks by hand. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "abi/layout.h"
#include "kit.h"

enum { POLLS_MAX = 1000, POLL_MS = 10 };

typedef struct served {
  nebula_engine *engine;
  nebula_queue *queue;
  nebula_server *server;
  int port;
} served;

static served serve(const nebula_server_options *options) {
  nebula_error error = {0};
  served s = {0};
  nebula_engine_options of_engine = {sizeof of_engine, 1, "mem:", 0}; /* more I/O threads share the bounds */
  s.engine = nebula_engine_new(&of_engine, &error);
  s.queue = new_queue(s.engine, &error);
  s.server = nebula_server_new(s.engine, options, &error);
  cr_assert_not_null(s.server, "%s", error.message);
  cr_assert_eq(nebula_server_method(s.server, "/hello/greet", NEBULA_UNARY, ECHO), 0);
  cr_assert_eq(nebula_server_listen(s.server, "tcp://127.0.0.1:0", NULL, &error), 0);
  cr_assert_eq(nebula_server_start(s.server, &s.queue, 1, &error), 0, "%s", error.message);
  char urls[256];
  nebula_server_urls(s.server, urls, sizeof urls);
  s.port = atoi(strrchr(urls, ':') + 1);
  return s;
}

static void end(served *s) {
  nebula_server_free(s->server);
  nebula_queue_free(s->queue);
  nebula_engine_free(s->engine);
}

/* A client that says what HTTP/2 begins with, and then nothing. */
static int connect_to(const served *s) {
  static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  cr_assert_eq(write(fd, hello, sizeof hello - 1), (ssize_t)sizeof hello - 1);
  return fd;
}

/* Turns the server until that client has been hung up on. 0: it was not. */
static int is_let_go(served *s, int fd) {
  char bytes[512];
  for (int i = 0; i < POLLS_MAX; i++) {
    nebula_poll(s->queue, POLL_MS);
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0) return 1;
  }
  return 0;
}

Test(options, end_a_connection_that_is_idle_old_or_silent) {
  nebula_server_options rows[] = {
      {.size = sizeof rows[0], .max_idle_ms = 20},
      {.size = sizeof rows[0], .max_age_ms = 20},
      {.size = sizeof rows[0], .keepalive_ms = 20, .keepalive_timeout_ms = 20},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    served s = serve(&rows[i]);
    int fd = connect_to(&s);
    cr_assert(is_let_go(&s, fd), "row %zu", i);
    close(fd);
    end(&s);
  }
}

Test(options, bound_the_connections_of_a_server) {
  served s = serve(&(nebula_server_options){.size = sizeof(nebula_server_options), .max_connections = 1});
  int first = connect_to(&s);
  for (int i = 0; i < 5; i++) nebula_poll(s.queue, POLL_MS);
  int second = connect_to(&s);
  cr_assert(is_let_go(&s, first));
  char byte;
  cr_assert(recv(second, &byte, 1, MSG_DONTWAIT) == 1, "the second is served");
  close(first);
  close(second);
  end(&s);
}

Test(options, of_an_older_program_are_taken_as_far_as_they_go) {
  struct {
    uint32_t size, max_message;
  } old = {sizeof old, 1000};
  nebula_error error;
  nebula_engine_options of_engine = {sizeof of_engine, 0, "mem:", 0};
  nebula_engine *engine = nebula_engine_new(&of_engine, &error);
  nebula_server *server = nebula_server_new(engine, (const nebula_server_options *)(const void *)&old, &error);
  nebula_channel *channel =
      nebula_channel_new(engine, "mem:x", (const nebula_channel_options *)(const void *)&old, &error);
  cr_assert(server != NULL && channel != NULL);
  nebula_channel_free(channel);
  nebula_server_free(server);
  nebula_engine_free(engine);
}

Test(options, let_a_channel_rest_and_wake) {
  world w = make_world();
  nebula_error error;
  nebula_channel_options options = {.size = sizeof options, .keepalive_ms = 10000, .keepalive_timeout_ms = 5000,
                                    .keepalive_always = 1, .max_idle_ms = 20};
  nebula_channel *channel = nebula_channel_new(w.engine, "mem:test", &options, &error);
  cr_assert_not_null(channel, "%s", error.message);
  uint64_t echo = nebula_channel_method(channel, "/test.Echo/Echo", NEBULA_UNARY);
  for (int round = 0; round < 3; round++) {
    call_and_wait(&w, echo, "hi");
    cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
    for (int i = 0; i < 5; i++) turn(&w, POLL_MS);
  }
  nebula_channel_free(channel);
  free_world(&w);
}

Test(options, take_a_policy) {
  world w = make_world();
  nebula_error error;
  nebula_channel_options options = {.size = sizeof options, .policy = "deadline:?default=20ms balancer=least:"};
  nebula_channel *channel = nebula_channel_new(w.engine, "nebula://nobody.here", &options, &error);
  cr_assert_not_null(channel, "%s", error.message);
  uint64_t method = nebula_channel_method(channel, "/nobody.here/Get", NEBULA_UNARY);
  int before = w.finished;
  cr_assert_neq(nebula_call_start(w.queue, method, 1, 0, NULL, 0, "hi", 2, NEBULA_END | NEBULA_WAIT_FOR_READY), 0);
  turn_until(&w, &w.finished, before + 1);
  cr_assert_eq(w.last.status, NEBULA_DEADLINE_EXCEEDED, "%s", w.text);
  nebula_channel_free(channel);
  free_world(&w);
}

Test(options, refuse_a_policy_with_a_typo_and_say_what_there_is) {
  nebula_error error;
  nebula_engine_options of_engine = {sizeof of_engine, 0, "mem:", 0};
  nebula_engine *engine = nebula_engine_new(&of_engine, &error);
  nebula_channel_options options = {.size = sizeof options, .policy = "breaker=rato:"};
  cr_assert_null(nebula_channel_new(engine, "mem:x", &options, &error));
  cr_assert_eq(error.code, NEBULA_E_ARGUMENT);
  cr_assert_not_null(strstr(error.message, "unknown scheme \"rato\"; known: ratio:?open=0.4, streak:"), "%s",
                     error.message);
  nebula_engine_free(engine);
  cr_assert_eq(setenv("NEBULA_POLICY", "channel a: retry:?tires=2", 1), 0);
  cr_assert_null(nebula_engine_new(&of_engine, &error));
  cr_assert_not_null(strstr(error.message, "there is no option \"tires\"; there are: tries, budget"), "%s", error.message);
}

Test(options, refuse_a_policy_in_a_registry_that_keeps_none) {
  nebula_error error;
  nebula_engine_options of_engine = {sizeof of_engine, 0, "static:127.0.0.1:1 dns:example.org", 0};
  nebula_engine *engine = nebula_engine_new(&of_engine, &error);
  nebula_channel_options options = {.size = sizeof options, .policy = "registry:shop"};
  cr_assert_null(nebula_channel_new(engine, "mem:x", &options, &error));
  cr_assert_not_null(strstr(error.message, "policy registry:shop: none can stand in static:127.0.0.1:1 dns:example.org"), "%s",
                     error.message);
  nebula_engine_free(engine);
  cr_assert_eq(setenv("NEBULA_POLICY", "registry:", 1), 0);
  cr_assert_null(nebula_engine_new(&of_engine, &error));
  cr_assert_not_null(strstr(error.message, "policy registry:default"), "%s", error.message);
  of_engine.registry = "mem:";
  engine = nebula_engine_new(&of_engine, &error);
  cr_assert_not_null(engine, "%s", error.message);
  options.policy = "registry:no/good";
  cr_assert_null(nebula_channel_new(engine, "mem:x", &options, &error));
  cr_assert_not_null(strstr(error.message, "write registry: or registry:name"), "%s", error.message);
  options.policy = "registry:shop";
  nebula_channel *channel = nebula_channel_new(engine, "nebula://hello", &options, &error);
  cr_assert_not_null(channel, "%s", error.message);
  nebula_channel_free(channel);
  nebula_engine_free(engine);
}
