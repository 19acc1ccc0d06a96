/* bindings/c/conformance.h - both sides of the program. */
#ifndef NEBULA_TESTS_BINDINGS_CONFORMANCE_H
#define NEBULA_TESTS_BINDINGS_CONFORMANCE_H

#include <stdint.h>

#define SERVICE "nebula.test.v1.Conformance"

int serve(char **urls, int count); /* until SIGTERM; what main returns */
int call(const char *target);      /* until the end of input; the same */

void fail(const char *what);       /* ends the program */
int64_t now_us(void);              /* of a clock that is never set */

#endif
