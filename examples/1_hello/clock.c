/* 1_hello/clock.c - a service in C: tells the time to whoever asks for demo.v1.Clock.
 *
 * No address and no port: listening at NULL takes a free one and announces the service by its name. One thread does
 * all of it: it waits for the queue and for signals, and every call is answered where it arrives. */
#include <nebula.h>
#include <nebula_protobuf_c.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "clock.pb-c.h"

enum { NOW = 1, DRAINED = 2 }; /* tags: ours, they come back with the events */

static void die(const char *what, const nebula_error *error) {
  fprintf(stderr, "clock: %s: %s\n", what, error->message);
  exit(1);
}

static void answer_now(const nebula_event *event) {
  /* NULL: it is no NowRequest, or not protobuf at all, and its caller has been told so. */
  ProtobufCMessage *request = nebula_message_request(event, &demo__v1__now_request__descriptor);
  if (request == NULL) return;
  nebula_message_free(request); /* it has no fields */

  struct timespec now;
  struct tm utc;
  char day[32], text[64];
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(text, sizeof text, "%s.%03ldZ", day, now.tv_nsec / 1000000);

  Demo__V1__NowReply reply = DEMO__V1__NOW_REPLY__INIT;
  reply.utc = text;
  reply.unix_nanos = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  nebula_message_send(event->call, &reply.base, NEBULA_END);
}

int main(void) {
  nebula_error error;
  nebula_engine *engine = nebula_engine_new(NULL, &error);
  if (engine == NULL) die("engine", &error);
  nebula_queue *queue = nebula_queue_new(engine, NULL, &error);
  if (queue == NULL) die("queue", &error);
  nebula_server *server = nebula_server_new(engine, NULL, &error);
  if (server == NULL) die("server", &error);
  nebula_server_method(server, "/demo.v1.Clock/Now", NEBULA_UNARY, NOW);
  if (nebula_server_listen(server, NULL, NULL, &error) < 0) die("listen", &error);

  /* From here on SIGINT and SIGTERM are bytes to read, not interruptions. */
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGINT);
  sigaddset(&stop_signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &stop_signals, NULL);
  struct pollfd ready[] = {{.fd = nebula_queue_fd(queue), .events = POLLIN},
                           {.fd = signalfd(-1, &stop_signals, SFD_CLOEXEC), .events = POLLIN}};

  if (nebula_server_start(server, &queue, 1, &error) < 0) die("start", &error);
  char urls[1024];
  nebula_server_urls(server, urls, sizeof urls);
  printf("clock  (c)  ready  %s\n", urls);
  fflush(stdout);

  for (int signals = 0, drained = 0; !drained;) {
    /* A poll also sends what was answered since the last one; only one that brings nothing has left nothing to do. */
    for (int32_t count; (count = nebula_poll(queue, 0)) != 0;) {
      if (count < 0) {
        fprintf(stderr, "clock: poll: %s\n", nebula_strerror(count));
        return 1;
      }
      const nebula_event *events = nebula_queue_events(queue);
      for (int32_t i = 0; i < count; i++) {
        if (events[i].kind == NEBULA_EV_CALL) answer_now(&events[i]);
        if (events[i].kind == NEBULA_EV_DRAINED) drained = 1;
      }
    }
    if (drained) break;
    poll(ready, 2, -1);
    if (ready[1].revents & POLLIN) {
      struct signalfd_siginfo which;
      if (read(ready[1].fd, &which, sizeof which) != sizeof which) continue;
      if (++signals > 1) break;                     /* the second one: at once */
      nebula_server_drain(server, -1, DRAINED);     /* the first one: withdraw, let running calls end */
    }
  }

  nebula_server_free(server);
  nebula_queue_free(queue);
  nebula_engine_free(engine);
  close(ready[1].fd);
  return 0;
}
