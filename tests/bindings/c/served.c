/* bindings/c/served.c - the server: one thread, which waits for the queue, for signals and for the clock. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conformance.h"
#include "work.h"

enum { DRAINED = RECALL + 1 }; /* a tag */

static void answer_recall(const nebula_event *event) {
  Key *key = (Key *)nebula_message_request(event, KEY);
  if (key == NULL) return;
  Record record = NEBULA__TEST__V1__RECORD__INIT;
  const memory *known = recall(key->key);
  record.state = (char *)(known != NULL ? known->state : "unknown");
  record.received = known != NULL ? known->received : 0;
  record.sent = known != NULL ? known->sent : 0;
  nebula_message_send(event->call, &record.base, NEBULA_END);
  nebula_message_free(&key->base);
}

static nebula_server *start(nebula_engine *engine, nebula_queue *queue, char **urls, int count) {
  nebula_error error = {0};
  nebula_server *server = nebula_server_new(engine, NULL, &error);
  if (server == NULL) fail(error.message);
  nebula_server_method(server, "/" SERVICE "/Unary", NEBULA_UNARY, UNARY);
  nebula_server_method(server, "/" SERVICE "/Collect", NEBULA_CLIENT_STREAM | NEBULA_HOLD, COLLECT);
  nebula_server_method(server, "/" SERVICE "/Produce", NEBULA_SERVER_STREAM, PRODUCE);
  nebula_server_method(server, "/" SERVICE "/Chat", NEBULA_BIDI | NEBULA_HOLD, CHAT);
  nebula_server_method(server, "/" SERVICE "/Recall", NEBULA_UNARY, RECALL);
  nebula_listen_options options = {.size = sizeof options, .announce = SERVICE};
  for (int i = 0; i < count; i++)
    if (nebula_server_listen(server, urls[i], &options, &error) < 0) fail(error.message);
  if (nebula_server_start(server, &queue, 1, &error) < 0) fail(error.message);
  return server;
}

/* One poll's events. Returns their number. */
static int32_t turn(nebula_queue *queue, const relay *relay, bool *drained) {
  int32_t count = nebula_poll(queue, 0);
  if (count < 0) fail(nebula_strerror(count));
  const nebula_event *events = nebula_queue_events(queue);
  for (int32_t i = 0; i < count; i++) {
    const nebula_event *event = &events[i];
    if (event->kind == NEBULA_EV_DRAINED) *drained = true;
    else if (event->kind == NEBULA_EV_CALL && event->tag == RECALL) answer_recall(event);
    else if (event->kind == NEBULA_EV_CALL) work_begin(event, relay);
    else work_event(event);
  }
  return count;
}

int serve(char **urls, int count) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigprocmask(SIG_BLOCK, &stop, NULL);
  nebula_error error = {0};
  nebula_engine *engine = nebula_engine_new(NULL, &error);
  nebula_queue *queue = engine != NULL ? nebula_queue_new(engine, NULL, &error) : NULL;
  if (queue == NULL) fail(error.message);
  nebula_server *server = start(engine, queue, urls, count);
  char addresses[1024];
  nebula_server_urls(server, addresses, sizeof addresses);
  printf("%s\n", addresses);
  fflush(stdout);

  *(addresses + strcspn(addresses, " ")) = '\0';
  nebula_channel *itself = nebula_channel_new(engine, addresses, NULL, &error);
  if (itself == NULL) fail(error.message);
  const relay relay = {queue, nebula_channel_method(itself, "/" SERVICE "/Unary", NEBULA_UNARY)};

  struct pollfd ready[] = {{.fd = nebula_queue_fd(queue), .events = POLLIN},
                           {.fd = signalfd(-1, &stop, SFD_CLOEXEC), .events = POLLIN}};
  for (bool drained = false; !drained;) {
    const int64_t left_us = work_timers();
    if (turn(queue, &relay, &drained) > 0 || drained) continue;
    poll(ready, 2, left_us < 0 ? -1 : (int)(left_us / 1000 + 1));
    struct signalfd_siginfo which;
    if (ready[1].revents & POLLIN && read(ready[1].fd, &which, sizeof which) == sizeof which)
      nebula_server_drain(server, -1, DRAINED);
  }
  nebula_channel_free(itself);
  nebula_server_free(server);
  nebula_queue_free(queue);
  nebula_engine_free(engine);
  close(ready[1].fd);
  return 0;
}
