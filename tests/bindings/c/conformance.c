/* bindings/c/conformance.c - nebula.test.v1.Conformance in C, served or called: tests/bindings/README.md.
 *
 * usage: conformance_c serve <url>...     until SIGTERM
 *        conformance_c call <target>      a case a line, a result a line */
#include "conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail(const char *what) {
  fprintf(stderr, "conformance_c: %s\n", what);
  exit(1);
}

int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

int main(int count, char **arguments) {
  if (count > 2 && strcmp(arguments[1], "serve") == 0) return serve(arguments + 2, count - 2);
  if (count == 3 && strcmp(arguments[1], "call") == 0) return call(arguments[2]);
  fprintf(stderr, "usage: conformance_c serve <url>... | call <target>\n");
  return 2;
}
