/* 1_hello/greet.c - the smallest caller: one call, by name. */
#include <nebula.h>
#include <stdio.h>

int main(void) {
  nebula_error error;
  nebula_engine *engine = nebula_engine_new(NULL, &error);
  nebula_queue *queue = engine != NULL ? nebula_queue_new(engine, NULL, &error) : NULL;
  nebula_channel *channel = queue != NULL ? nebula_channel_new(engine, "nebula:", NULL, &error) : NULL;
  if (channel == NULL) {
    fprintf(stderr, "greet: %s\n", error.message);
    return 2;
  }

  /* One call out: at most half a second, in JSON. */
  uint64_t method = nebula_channel_method(channel, "/hello/greet", NEBULA_UNARY);
  const char request[] = "{\"name\": \"Ada\"}";
  if (nebula_call_start(queue, method, 0, 500000, NULL, 0, request, sizeof request - 1, NEBULA_END | NEBULA_JSON) == 0)
    return 2;

  /* One event in: its data is the reply, or the message of the error. */
  while (nebula_poll(queue, -1) == 0) continue;
  const nebula_event *event = nebula_queue_events(queue);
  int32_t status = event->status;
  printf("%s  %.*s\n", nebula_strerror(status), (int)event->size, (const char *)event->data);

  nebula_channel_free(channel);
  nebula_queue_free(queue);
  nebula_engine_free(engine);
  return status == NEBULA_OK ? 0 : 1;
}
