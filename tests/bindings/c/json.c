/* bindings/c/json.c - a reader by descent and a few writers. */
#include "json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *must(void *memory) {
  if (memory != NULL) return memory;
  fprintf(stderr, "conformance_c: out of memory\n");
  exit(1);
}

void put(text *out, const char *bytes, size_t size) {
  if (out->size + size + 1 > out->room) {
    out->room = (out->size + size + 1) * 2;
    out->data = must(realloc(out->data, out->room));
  }
  if (size > 0) memcpy(out->data + out->size, bytes, size);
  out->size += size;
  out->data[out->size] = '\0';
}

void put_text(text *out, const char *bytes) { put(out, bytes, strlen(bytes)); }

void put_format(text *out, const char *format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  put_text(out, line);
}

void put_quoted(text *out, const char *bytes, size_t size) {
  put(out, "\"", 1);
  for (size_t i = 0; i < size; i++) {
    unsigned char byte = (unsigned char)bytes[i];
    if (byte == '"' || byte == '\\') put(out, "\\", 1);
    if (byte < 0x20)
      put_format(out, "\\u%04x", byte);
    else
      put(out, bytes + i, 1);
  }
  put(out, "\"", 1);
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void put_base64(text *out, const uint8_t *bytes, size_t size) {
  put(out, "\"", 1);
  for (size_t i = 0; i < size; i += 3) {
    uint32_t three = (uint32_t)bytes[i] << 16;
    if (i + 1 < size) three |= (uint32_t)bytes[i + 1] << 8;
    if (i + 2 < size) three |= bytes[i + 2];
    char four[4] = {digits[three >> 18], digits[three >> 12 & 63], digits[three >> 6 & 63], digits[three & 63]};
    if (i + 1 >= size) four[2] = '=';
    if (i + 2 >= size) four[3] = '=';
    put(out, four, 4);
  }
  put(out, "\"", 1);
}

uint8_t *json_bytes(const json *value, size_t *size) {
  uint8_t *bytes = must(malloc(value->size / 4 * 3 + 3));
  uint32_t bits = 0;
  int count = 0;
  *size = 0;
  for (size_t i = 0; i < value->size; i++) {
    const char *digit = memchr(digits, value->value[i], sizeof digits - 1);
    if (digit == NULL) break; /* the padding */
    bits = bits << 6 | (uint32_t)(digit - digits);
    if (++count % 4 != 1) bytes[(*size)++] = (uint8_t)(bits >> (6 - 2 * ((count - 1) % 4)));
  }
  return bytes;
}

/* ---- reading: each function leaves `at` behind what it has read, or at NULL where that is no JSON */

static void skip_space(const char **at) { *at += strspn(*at, " \t\r\n"); }

static uint32_t read_hex(const char **at) {
  uint32_t code = 0;
  for (int i = 0; i < 4; i++, (*at)++) {
    const char *hex = "0123456789abcdef0123456789ABCDEF", *digit = **at != '\0' ? strchr(hex, **at) : NULL;
    if (digit == NULL) return 0;
    code = code << 4 | ((uint32_t)(digit - hex) & 15);
  }
  return code;
}

static void put_utf8(text *out, uint32_t code) {
  char bytes[4] = {(char)code};
  size_t size = 1;
  if (code >= 0x10000) {
    bytes[0] = (char)(0xf0 | code >> 18);
    bytes[1] = (char)(0x80 | (code >> 12 & 63));
    size = 4;
  } else if (code >= 0x800) {
    bytes[0] = (char)(0xe0 | code >> 12);
    size = 3;
  } else if (code >= 0x80) {
    bytes[0] = (char)(0xc0 | code >> 6);
    size = 2;
  }
  if (size > 2) bytes[size - 2] = (char)(0x80 | (code >> 6 & 63));
  if (size > 1) bytes[size - 1] = (char)(0x80 | (code & 63));
  put(out, bytes, size);
}

static void read_escape(text *out, const char **at) {
  static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  char which = *(*at)++;
  const char *found = which != '\0' ? strchr(escapes, which) : NULL;
  if (which != 'u') {
    if (found == NULL) *at = NULL;
    else put(out, meant + (found - escapes), 1);
    return;
  }
  uint32_t code = read_hex(at);
  if (code >= 0xd800 && code < 0xdc00 && (*at)[0] == '\\' && (*at)[1] == 'u') {
    *at += 2;
    code = 0x10000 + ((code - 0xd800) << 10) + (read_hex(at) - 0xdc00);
  }
  put_utf8(out, code);
}

static text read_text(const char **at) {
  text out = {0};
  put(&out, "", 0);
  (*at)++;
  while (*at != NULL && **at != '"') {
    size_t plain = strcspn(*at, "\"\\");
    put(&out, *at, plain);
    *at += plain;
    if (**at == '\0') {
      *at = NULL;
    } else if (**at == '\\') {
      (*at)++;
      read_escape(&out, at);
    }
  }
  if (*at != NULL) (*at)++;
  return out;
}

static json *read_value(const char **at);

static void read_items(json *parent, const char **at) {
  const char end = parent->kind == JSON_LIST ? ']' : '}';
  json **last = &parent->first;
  (*at)++;
  skip_space(at);
  while (**at != end) {
    text name = {0};
    if (parent->kind == JSON_OBJECT) {
      if (**at != '"') { *at = NULL; return; }
      name = read_text(at);
      if (*at != NULL) skip_space(at);
      if (*at == NULL || *(*at)++ != ':') { free(name.data); *at = NULL; return; }
    }
    *last = read_value(at);
    (*last)->name = name.data;
    last = &(*last)->next;
    if (*at == NULL) return;
    skip_space(at);
    if (**at == ',') (*at)++;
    else if (**at != end) { *at = NULL; return; }
    skip_space(at);
  }
  (*at)++;
}

static json *read_value(const char **at) {
  json *value = must(calloc(1, sizeof *value));
  skip_space(at);
  if (**at == '[' || **at == '{') {
    value->kind = **at == '[' ? JSON_LIST : JSON_OBJECT;
    read_items(value, at);
  } else if (**at == '"') {
    text read = read_text(at);
    value->kind = JSON_TEXT;
    value->value = read.data;
    value->size = read.size;
  } else {
    size_t size = strcspn(*at, ",]} \t\r\n");
    value->kind = strchr("tf", **at) != NULL ? JSON_BOOL : **at == 'n' ? JSON_NULL : JSON_NUMBER;
    value->value = must(strndup(*at, size));
    value->size = size;
    *at = size == 0 ? NULL : *at + size;
  }
  return value;
}

json *json_parse(const char *bytes) {
  json *value = read_value(&bytes);
  if (bytes != NULL) return value;
  json_free(value);
  return NULL;
}

void json_free(json *value) {
  while (value != NULL) {
    json *next = value->next;
    json_free(value->first);
    free(value->name);
    free(value->value);
    free(value);
    value = next;
  }
}

void json_print(text *out, const json *value, const char *without) {
  if (value->kind == JSON_TEXT) {
    put_quoted(out, value->value, value->size);
  } else if (value->kind != JSON_LIST && value->kind != JSON_OBJECT) {
    put(out, value->value, value->size);
  } else {
    const char *between = "";
    put_text(out, value->kind == JSON_LIST ? "[" : "{");
    for (const json *item = value->first; item != NULL; item = item->next) {
      if (item->name != NULL && without != NULL && strcmp(item->name, without) == 0) continue;
      put_text(out, between);
      if (item->name != NULL) {
        put_quoted(out, item->name, strlen(item->name));
        put_text(out, ":");
      }
      json_print(out, item, NULL);
      between = ",";
    }
    put_text(out, value->kind == JSON_LIST ? "]" : "}");
  }
}

const json *json_find(const json *object, const char *name) {
  for (const json *item = object != NULL ? object->first : NULL; item != NULL; item = item->next)
    if (item->name != NULL && strcmp(item->name, name) == 0) return item;
  return NULL;
}

const char *json_text(const json *object, const char *name) {
  const json *value = json_find(object, name);
  return value != NULL ? value->value : "";
}

int64_t json_number(const json *object, const char *name, int64_t otherwise) {
  const json *value = json_find(object, name);
  return value != NULL ? strtoll(value->value, NULL, 10) : otherwise;
}

bool json_flag(const json *object, const char *name) { return strcmp(json_text(object, name), "true") == 0; }
