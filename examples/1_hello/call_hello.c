/* 1_hello/call_hello.c - calls the service "hello" by its name, from C, in JSON.
 *
 * usage: call_hello [-n calls] [-w] [name]      -w: wait for an instance instead of failing fast
 *
 * Which process answers, where it runs and in which language it is written appears nowhere. */
#include <nebula.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* {"name":"..."}; returns its length. `out` has room for six bytes per byte of name and a few more. */
static uint32_t make_request(char *out, const char *name) {
  char *at = out + sprintf(out, "{\"name\":\"");
  for (; *name != '\0'; name++) {
    unsigned char byte = (unsigned char)*name;
    if (byte < ' ' || byte == '"' || byte == '\\')
      at += sprintf(at, "\\u%04x", byte);
    else
      *at++ = *name;
  }
  at += sprintf(at, "\"}");
  return (uint32_t)(at - out);
}

/* Starts one call, polls until it has ended, prints how. Returns its status. */
static int32_t greet(nebula_queue *queue, uint64_t method, const char *request, uint32_t size, uint32_t flags) {
  double began = now_ms();
  uint64_t timeout_us = flags & NEBULA_WAIT_FOR_READY ? 30000000 : 500000;
  if (nebula_call_start(queue, method, 0, timeout_us, NULL, 0, request, size, NEBULA_END | NEBULA_JSON | flags) == 0) {
    fprintf(stderr, "call_hello: the call could not be started\n");
    exit(2);
  }
  for (;;) {
    int32_t count = nebula_poll(queue, -1);
    if (count < 0) {
      fprintf(stderr, "call_hello: poll: %s\n", nebula_strerror(count));
      exit(2);
    }
    const nebula_event *events = nebula_queue_events(queue);
    for (int32_t i = 0; i < count; i++) {
      if (events[i].kind != NEBULA_EV_FINISHED) continue;
      /* `data` is the reply, or the message of the error. */
      const char *code = nebula_strerror(events[i].status);
      printf("%.*s  %.*s  %.1f ms\n", (int)strcspn(code, ":"), code, (int)events[i].size,
             events[i].data != NULL ? (const char *)events[i].data : "", now_ms() - began);
      fflush(stdout);
      return events[i].status;
    }
  }
}

int main(int argc, char **argv) {
  int calls = 1, option;
  uint32_t flags = 0;
  while ((option = getopt(argc, argv, "n:w")) != -1) {
    if (option == 'n') calls = atoi(optarg);
    if (option == 'w') flags = NEBULA_WAIT_FOR_READY;
    if (option == '?') return 2;
  }
  const char *name = optind < argc ? argv[optind] : "Ada";
  char *request = malloc(6 * strlen(name) + 32);
  if (request == NULL) return 2;
  uint32_t size = make_request(request, name);

  nebula_error error;
  nebula_engine *engine = nebula_engine_new(NULL, &error);
  nebula_queue *queue = engine != NULL ? nebula_queue_new(engine, NULL, &error) : NULL;
  nebula_channel *channel = queue != NULL ? nebula_channel_new(engine, "nebula:", NULL, &error) : NULL;
  if (channel == NULL) {
    fprintf(stderr, "call_hello: %s\n", error.message);
    return 2;
  }
  uint64_t method = nebula_channel_method(channel, "/hello/greet", NEBULA_UNARY);

  int32_t status = NEBULA_OK;
  while (calls-- > 0 && status == NEBULA_OK) status = greet(queue, method, request, size, flags);

  nebula_channel_free(channel);
  nebula_queue_free(queue);
  nebula_engine_free(engine);
  free(request);
  return status == NEBULA_OK ? 0 : 1;
}
