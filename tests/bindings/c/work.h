/* bindings/c/work.h - one call being handled: what its first request says, done step by step as events come. */
#ifndef NEBULA_TESTS_BINDINGS_WORK_H
#define NEBULA_TESTS_BINDINGS_WORK_H

#include "message.h"

enum { UNARY = 1, COLLECT, PRODUCE, CHAT, RECALL }; /* tags of methods */

/* What is remembered of a call for Recall. */
typedef struct memory {
  char *key;
  const char *state;
  uint64_t received, sent;
  struct memory *next;
} memory;

memory *recall(const char *key); /* NULL: there was none */

/* How a call calls its own server: a tag for events is its number with RELAYED in it. */
typedef struct relay { nebula_queue *queue; uint64_t method; } relay;
#define RELAYED (1ull << 60)

/* An event of a call that is handled, or of one that it has made. Others are passed over. */
void work_begin(const nebula_event *event, const relay *relay);
void work_event(const nebula_event *event);

/* Goes on with those that have waited long enough. Returns the microseconds until the next; negative: none waits. */
int64_t work_timers(void);

#endif
