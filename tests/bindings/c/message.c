/* bindings/c/message.c - what conformance.proto has: texts, bytes, whole numbers, flags, messages, lists. */
#include "message.h"

#include <inttypes.h>
#include <string.h>

static void *member(const ProtobufCMessage *message, unsigned offset) { return (char *)message + offset; }

/* answer_size is answerSize in JSON. */
static void json_name(const char *name, char *out) {
  for (; *name != '\0'; name++) *out++ = *name == '_' ? (char)(*++name - 'a' + 'A') : *name;
  *out = '\0';
}

static void read_field(const json *value, const ProtobufCFieldDescriptor *field, void *out) {
  switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: *(char **)out = must(strdup(value->value)); break;
    case PROTOBUF_C_TYPE_BYTES: {
      ProtobufCBinaryData *bytes = out;
      bytes->data = json_bytes(value, &bytes->len);
      break;
    }
    case PROTOBUF_C_TYPE_BOOL: *(protobuf_c_boolean *)out = strcmp(value->value, "true") == 0; break;
    case PROTOBUF_C_TYPE_MESSAGE: *(ProtobufCMessage **)out = message_from_json(value, field->descriptor); break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64: *(int64_t *)out = strtoll(value->value, NULL, 10); break;
    default: *(int32_t *)out = (int32_t)strtoll(value->value, NULL, 10); break;
  }
}

static void read_list(const json *list, const ProtobufCFieldDescriptor *field, ProtobufCMessage *message) {
  size_t *count = member(message, field->quantifier_offset);
  for (const json *item = list->first; item != NULL; item = item->next) {
    void ***items = member(message, field->offset);
    *items = must(realloc(*items, (*count + 1) * sizeof **items));
    read_field(item, field, *items + (*count)++);
  }
}

ProtobufCMessage *message_from_json(const json *object, const ProtobufCMessageDescriptor *type) {
  ProtobufCMessage *message = must(malloc(type->sizeof_message));
  protobuf_c_message_init(type, message);
  for (unsigned i = 0; i < type->n_fields; i++) {
    const ProtobufCFieldDescriptor *field = &type->fields[i];
    char name[64];
    json_name(field->name, name);
    const json *value = json_find(object, name);
    if (value == NULL) continue;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) read_list(value, field, message);
    else read_field(value, field, member(message, field->offset));
  }
  return message;
}

/* False: it has its default, and nothing was put. */
static bool put_value(text *out, const ProtobufCFieldDescriptor *field, const void *value) {
  switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
      const char *bytes = *(char *const *)value;
      if (bytes == NULL || *bytes == '\0') return false;
      put_quoted(out, bytes, strlen(bytes));
      return true;
    }
    case PROTOBUF_C_TYPE_BYTES: {
      const ProtobufCBinaryData *bytes = value;
      if (bytes->len > 0) put_base64(out, bytes->data, bytes->len);
      return bytes->len > 0;
    }
    case PROTOBUF_C_TYPE_BOOL:
      if (*(const protobuf_c_boolean *)value) put_text(out, "true");
      return *(const protobuf_c_boolean *)value;
    case PROTOBUF_C_TYPE_MESSAGE:
      if (*(ProtobufCMessage *const *)value != NULL) put_message(out, *(ProtobufCMessage *const *)value);
      return *(ProtobufCMessage *const *)value != NULL;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64: /* texts, for JSON's numbers have 53 bits */
      if (*(const int64_t *)value != 0) put_format(out, "\"%" PRId64 "\"", *(const int64_t *)value);
      return *(const int64_t *)value != 0;
    default:
      if (*(const int32_t *)value != 0) put_format(out, "%" PRId32, *(const int32_t *)value);
      return *(const int32_t *)value != 0;
  }
}

static bool put_list(text *out, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message) {
  const size_t count = *(size_t *)member(message, field->quantifier_offset);
  void *const *items = *(void ***)member(message, field->offset);
  for (size_t i = 0; i < count; i++) {
    put_text(out, i == 0 ? "[" : ",");
    put_value(out, field, &items[i]);
  }
  if (count > 0) put_text(out, "]");
  return count > 0;
}

void put_message(text *out, const ProtobufCMessage *message) {
  const char *between = "{";
  for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
    const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
    char name[64];
    json_name(field->name, name);
    text value = {0};
    if (field->label == PROTOBUF_C_LABEL_REPEATED ? put_list(&value, field, message)
                                                  : put_value(&value, field, member(message, field->offset))) {
      put_format(out, "%s\"%s\":", between, name);
      put(out, value.data, value.size);
      between = ",";
    }
    free(value.data);
  }
  put_text(out, *between == '{' ? "{}" : "}");
}

bool next_field(const uint8_t **at, const uint8_t *end, field *out) {
  if (*at >= end) return false;
  memcpy(&out->name_size, *at, 4);
  memcpy(&out->value_size, *at + 4, 4);
  out->name = (const char *)*at + 8;
  out->value = out->name + out->name_size;
  *at += 8 + out->name_size + out->value_size;
  return true;
}

bool is_ours(const field *field) { return field->name_size > 2 && memcmp(field->name, "x-", 2) == 0; }

bool is_binary(const char *name, size_t size) { return size > 4 && memcmp(name + size - 4, "-bin", 4) == 0; }

void put_field(text *block, const char *name, const void *value, size_t size) {
  uint32_t sizes[2] = {(uint32_t)strlen(name), (uint32_t)size};
  put(block, (const char *)sizes, sizeof sizes);
  put_text(block, name);
  put(block, value, size);
}

void put_metadata(text *out, const uint8_t *block, uint32_t size) {
  const char *between = "";
  put_text(out, "[");
  field field;
  for (const uint8_t *at = block, *end = at + size; next_field(&at, end, &field);) {
    if (!is_ours(&field)) continue;
    put_text(out, between);
    put_text(out, "{\"name\":");
    put_quoted(out, field.name, field.name_size);
    if (is_binary(field.name, field.name_size)) {
      put_text(out, ",\"data\":");
      put_base64(out, (const uint8_t *)field.value, field.value_size);
    } else {
      put_text(out, ",\"text\":");
      put_quoted(out, field.value, field.value_size);
    }
    put_text(out, "}");
    between = ",";
  }
  put_text(out, "]");
}
