/* attack/server.c - what tests/attack attacks: echo, and answers of any size, at a free port of this host. */
#include <nebula.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ECHO = 1, BIG = 2, HOLD = 3 };

static char big[10 << 20];

static int32_t on_event(void *context, const nebula_event *event) {
  (void)context;
  if (event->kind != NEBULA_EV_CALL) return 0;
  if (event->tag == ECHO) nebula_call_send(event->call, event->data, event->size, NEBULA_END);
  /* As many bytes as the request says. */
  if (event->tag == BIG) {
    uint32_t size = 0;
    memcpy(&size, event->data, event->size < sizeof size ? event->size : sizeof size);
    nebula_call_send(event->call, big, size < sizeof big ? size : sizeof big, NEBULA_END);
  }
  return 0; /* HOLD is never answered */
}

int main(void) {
  nebula_error error;
  nebula_engine *engine = nebula_engine_new(NULL, &error);
  nebula_queue *queue = engine != NULL ? nebula_queue_new(engine, NULL, &error) : NULL;
  nebula_server *server = queue != NULL ? nebula_server_new(engine, NULL, &error) : NULL;
  if (server == NULL || nebula_server_method(server, "/attack/echo", NEBULA_UNARY, ECHO) < 0 ||
      nebula_server_method(server, "/attack/big", NEBULA_UNARY, BIG) < 0 ||
      nebula_server_method(server, "/attack/hold", NEBULA_UNARY, HOLD) < 0 ||
      nebula_server_listen(server, "tcp://127.0.0.1:0", NULL, &error) < 0 ||
      nebula_server_start(server, &queue, 1, &error) < 0) {
    fprintf(stderr, "attack/server: %s\n", error.message);
    return 2;
  }
  char urls[256];
  nebula_server_urls(server, urls, sizeof urls);
  printf("%s\n", urls);
  fflush(stdout);
  return nebula_run(queue, on_event, NULL) < 0; /* until it is killed */
}
