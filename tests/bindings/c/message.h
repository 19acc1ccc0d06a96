/* bindings/c/message.h - messages of protobuf-c in proto3's JSON, by their descriptors; and metadata in a case's. */
#ifndef NEBULA_TESTS_BINDINGS_MESSAGE_H
#define NEBULA_TESTS_BINDINGS_MESSAGE_H

#include <nebula_protobuf_c.h>

#include "conformance.pb-c.h"
#include "json.h"

typedef Nebula__Test__V1__Ask Ask;
typedef Nebula__Test__V1__Answer Answer;
typedef Nebula__Test__V1__Key Key;
typedef Nebula__Test__V1__Pair Pair;
typedef Nebula__Test__V1__Record Record;
#define ASK (&nebula__test__v1__ask__descriptor)
#define ANSWER (&nebula__test__v1__answer__descriptor)
#define KEY (&nebula__test__v1__key__descriptor)
#define RECORD (&nebula__test__v1__record__descriptor)

/* nebula_message_free it. What the type does not have is passed over. */
ProtobufCMessage *message_from_json(const json *object, const ProtobufCMessageDescriptor *type);
void put_message(text *out, const ProtobufCMessage *message); /* without fields that have their default */

/* ---- metadata: the flat block of the ABI */
typedef struct field { const char *name, *value; uint32_t name_size, value_size; } field; /* not ended by NUL */

bool next_field(const uint8_t **at, const uint8_t *end, field *out); /* false: there are no more */
bool is_ours(const field *field);                                    /* its name begins with x- */
bool is_binary(const char *name, size_t size);                       /* it ends in -bin */
void put_field(text *block, const char *name, const void *value, size_t size);
void put_metadata(text *out, const uint8_t *block, uint32_t size);   /* those that are ours, as a case has them */

#endif
