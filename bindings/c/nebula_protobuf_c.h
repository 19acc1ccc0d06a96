/* bindings/c/nebula_protobuf_c.h - messages of protobuf-c on Nebula's calls: nothing generated but by protoc-c.
 *
 * Every message that protoc-c makes begins with a ProtobufCMessage, which knows its descriptor; so these few functions
 * are for all of them. A message that is sent is given as `&message.base`, and one that has come is cast:
 *
 *   ProtobufCMessage *message = nebula_message_request(event, &shop__v1__order__descriptor);
 *   Shop__V1__Order *order = (Shop__V1__Order *)message;
 *
 * Link with what `pkg-config --libs nebula libprotobuf-c` says. */
#ifndef NEBULA_PROTOBUF_C_H
#define NEBULA_PROTOBUF_C_H

#include <nebula.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The message of an event: CALL, MESSAGE, or a FINISHED whose status is OK. It is yours, and outlives the event;
   nebula_message_free it. NULL: there is none, or its bytes are no message of that type, or there is no memory. */
static inline ProtobufCMessage *nebula_message_of(const nebula_event *event, const ProtobufCMessageDescriptor *type) {
  return event->data == NULL ? NULL : protobuf_c_message_unpack(type, NULL, event->size, event->data);
}

/* NULL is fine. */
static inline void nebula_message_free(ProtobufCMessage *message) {
  if (message != NULL) protobuf_c_message_free_unpacked(message, NULL);
}

/* Server: whether a call that has come (CALL) speaks protobuf. One that speaks JSON is answered here, by UNIMPLEMENTED
   and what its method takes; 0 is returned, and the call is over. */
static inline int nebula_message_speaks_protobuf(const nebula_event *event) {
  if ((event->flags & NEBULA_JSON) == 0) return 1;
  nebula_call_finish(event->call, NEBULA_UNIMPLEMENTED,
                     "this method takes application/grpc+proto, not application/grpc+json", NULL, 0);
  return 0;
}

/* Server: the request in an event, CALL or MESSAGE, as nebula_message_of has it. NULL: it is none of that type, and the
   call has been answered: by UNIMPLEMENTED where it speaks JSON, else by INVALID_ARGUMENT and the name of the type. */
static inline ProtobufCMessage *nebula_message_request(const nebula_event *event,
                                                       const ProtobufCMessageDescriptor *type) {
  if (event->kind == NEBULA_EV_CALL && !nebula_message_speaks_protobuf(event)) return NULL;
  ProtobufCMessage *message = nebula_message_of(event, type);
  if (message == NULL) {
    char text[256];
    snprintf(text, sizeof text, "the request is no %s", type->name);
    nebula_call_finish(event->call, NEBULA_INVALID_ARGUMENT, text, NULL, 0);
  }
  return message;
}

/* The bytes of a message in a buffer for nebula_call_give. NULL: it has 4 GiB or more, or there is no memory. */
static inline nebula_buffer *nebula_message_pack(const ProtobufCMessage *message) {
  size_t size = protobuf_c_message_get_packed_size(message);
  nebula_buffer *buffer = size <= UINT32_MAX ? nebula_buffer_new((uint32_t)size) : NULL;
  if (buffer != NULL) protobuf_c_message_pack(message, (uint8_t *)nebula_buffer_data(buffer));
  return buffer;
}

/* Sends a message, as nebula_call_send does; flags and results are its own. NEBULA_E_NO_MEMORY: the message is too
   large for a call, or for the memory that there is; the call goes on. */
static inline int32_t nebula_message_send(uint64_t call, const ProtobufCMessage *message, uint32_t flags) {
  nebula_buffer *buffer = nebula_message_pack(message);
  return buffer != NULL ? nebula_call_give(call, buffer, flags) : NEBULA_E_NO_MEMORY;
}

/* Client: starts a call with a message, as nebula_call_start_under does; timeout in microseconds, 0: none. With message
   NULL it starts a stream of requests that nebula_message_send goes on with. The call says that it speaks protobuf. */
static inline uint64_t nebula_message_start_under(nebula_queue *queue, uint64_t method, uint64_t tag,
                                                  uint64_t timeout_us, const void *metadata, uint32_t metadata_size,
                                                  const ProtobufCMessage *message, uint32_t flags, uint64_t parent) {
  flags |= NEBULA_PROTO;
  if (message == NULL)
    return nebula_call_start_under(queue, method, tag, timeout_us, metadata, metadata_size, NULL, 0, flags, parent);
  nebula_buffer *buffer = nebula_message_pack(message);
  if (buffer == NULL) return 0;
  uint64_t call = nebula_call_start_under(queue, method, tag, timeout_us, metadata, metadata_size,
                                          nebula_buffer_data(buffer),
                                          (uint32_t)protobuf_c_message_get_packed_size(message), flags, parent);
  nebula_buffer_unref(buffer);
  return call;
}

/* The same for a call that is made while handling none. */
static inline uint64_t nebula_message_start(nebula_queue *queue, uint64_t method, uint64_t tag, uint64_t timeout_us,
                                            const void *metadata, uint32_t metadata_size,
                                            const ProtobufCMessage *message, uint32_t flags) {
  return nebula_message_start_under(queue, method, tag, timeout_us, metadata, metadata_size, message, flags, 0);
}

#ifdef __cplusplus
}
#endif
#endif
