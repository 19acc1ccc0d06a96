/* bindings/c/run.h - one call of a case, as a state machine; several may run at a time. */
#ifndef NEBULA_TESTS_BINDINGS_RUN_H
#define NEBULA_TESTS_BINDINGS_RUN_H

#include "message.h"

typedef struct line { nebula_queue *queue; nebula_channel *channel; } line; /* the way to the server */

typedef struct run run;

/* Starts the call that a case describes. `given` and `line` outlive it; it is the tag of its events. */
run *run_start(const line *line, const json *given);
void run_free(run *run);

void run_event(run *run, const nebula_event *event);
bool run_is_over(const run *run);
int32_t run_code(const run *run);

/* Does what is due by the clock. Returns the microseconds until the next, negative: nothing is to come. */
int64_t run_timers(run *run);

/* The fields of the result, each with a comma before it. */
void run_result(const run *run, text *out);

#endif
