/* bindings/c/json.h - JSON as a tree that is read, and as text that is written. */
#ifndef NEBULA_TESTS_BINDINGS_JSON_H
#define NEBULA_TESTS_BINDINGS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- text that grows; one of zeros is empty. There is no memory: the program ends */
typedef struct text { char *data; size_t size, room; } text;

void *must(void *memory); /* ends the program if there is none */
void put(text *out, const char *bytes, size_t size);
void put_text(text *out, const char *bytes);
void put_format(text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void put_quoted(text *out, const char *bytes, size_t size); /* UTF-8, as a JSON text */
void put_base64(text *out, const uint8_t *bytes, size_t size); /* the same of bytes, in quotes */

/* ---- the tree */
enum { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_TEXT, JSON_LIST, JSON_OBJECT };
typedef struct json {
  int kind;
  char *name;              /* of a member of an object */
  char *value;             /* a text, without escapes; a number or a word, as it was written */
  size_t size;             /* of value, which ends in NUL, too */
  struct json *first, *next; /* items or members, and who comes after this one */
} json;

json *json_parse(const char *bytes); /* NULL: it is none. json_free it */
void json_free(json *value);
void json_print(text *out, const json *value, const char *without); /* without: a member that is left out, or NULL */

/* Members of an object; of one that is NULL or missing the default. */
const json *json_find(const json *object, const char *name);
const char *json_text(const json *object, const char *name); /* or "" */
int64_t json_number(const json *object, const char *name, int64_t otherwise);
bool json_flag(const json *object, const char *name);
uint8_t *json_bytes(const json *value, size_t *size); /* of base64; yours to free */

#endif
