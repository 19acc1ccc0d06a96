// nebula_jni.c - nebula.h for Abi.java: handles and addresses as numbers, texts and messages as arrays of bytes.
//
// Nothing is decided here. Texts come with their NUL, as UTF-8: JNI's own strings are of a UTF-8 of its own. Each
// function is one crossing; those of a call copy its bytes once, onto the stack or into a buffer of the engine's.
#include <jni.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "nebula.h"

#define ABI(type, name) JNIEXPORT type JNICALL Java_org_example_nebula_Abi_##name
#define ENV JNIEnv *env, jclass self
#define POINTER(type, number) ((type *)(intptr_t)(number))
#define COUNT(array) (jsize)(sizeof(array) / sizeof *(array))

// Port.java reads events at these offsets.
_Static_assert(sizeof(nebula_event) == 64 && offsetof(nebula_event, tag) == 8 && offsetof(nebula_event, kind) == 16 &&
                   offsetof(nebula_event, flags) == 18 && offsetof(nebula_event, status) == 20 &&
                   offsetof(nebula_event, data) == 24 && offsetof(nebula_event, metadata) == 32 &&
                   offsetof(nebula_event, size) == 40 && offsetof(nebula_event, metadata_size) == 44 &&
                   offsetof(nebula_event, value) == 56,
               "the layout of an event");
// Abi.java gives the options of a server as the numbers of this struct, in their order.
_Static_assert(sizeof(nebula_server_options) == 12 * sizeof(uint32_t), "nothing but numbers");

// The bytes of an array while a function runs. No array: NULL. An empty one has an address, too.
typedef struct {
  jbyte *bytes;
  jsize size;
  jbyte few[1024];
} slice;

static int take(JNIEnv *env, slice *taken, jbyteArray array) {
  taken->bytes = NULL;
  taken->size = 0;
  if (array == NULL) return 1;
  taken->size = (*env)->GetArrayLength(env, array);
  taken->bytes = taken->size <= COUNT(taken->few) ? taken->few : malloc((size_t)taken->size);
  if (taken->bytes == NULL) return 0;
  (*env)->GetByteArrayRegion(env, array, 0, taken->size, taken->bytes);
  return 1;
}

static void drop(slice *taken) {
  if (taken->bytes != taken->few) free(taken->bytes);
}

static jbyteArray array_of(JNIEnv *env, const void *bytes, size_t size) {
  jbyteArray array = (*env)->NewByteArray(env, (jsize)size);  // NULL: an OutOfMemoryError is on its way
  if (array != NULL) (*env)->SetByteArrayRegion(env, array, 0, (jsize)size, bytes);
  return array;
}

static jlong refuse(JNIEnv *env, const nebula_error *error) {
  const char *message = error->message[0] != 0 ? error->message : nebula_strerror(error->code);
  jbyteArray text = array_of(env, message, strlen(message));
  jclass type = text == NULL ? NULL : (*env)->FindClass(env, "org/example/nebula/EngineException");
  jmethodID constructor = type == NULL ? NULL : (*env)->GetMethodID(env, type, "<init>", "(II[B)V");
  if (constructor == NULL) return 0;
  jthrowable thrown = (*env)->NewObject(env, type, constructor, error->code, error->system, text);
  if (!(*env)->ExceptionCheck(env)) (*env)->Throw(env, thrown);
  return 0;
}

static jlong no_memory(JNIEnv *env) {
  nebula_error error = {NEBULA_E_NO_MEMORY, 0, ""};
  return refuse(env, &error);
}

// The texts of a nebula_tls: certificate, key, authorities, server name; each may be missing. NULL: no TLS.
typedef struct {
  nebula_tls tls;
  slice texts[4];
} tls_texts;

static const nebula_tls *take_tls(JNIEnv *env, tls_texts *taken, jobjectArray texts) {
  memset(&taken->tls, 0, sizeof taken->tls);
  for (jsize i = 0; i < 4; i++) {
    taken->texts[i].bytes = NULL;
    if (texts == NULL) continue;
    jbyteArray text = (*env)->GetObjectArrayElement(env, texts, i);
    if ((*env)->ExceptionCheck(env)) return NULL;  // cannot be: the array has four
    take(env, &taken->texts[i], text);
    (*env)->DeleteLocalRef(env, text);
  }
  if (texts == NULL) return NULL;
  taken->tls.size = sizeof taken->tls;
  taken->tls.certificate = (const char *)taken->texts[0].bytes;
  taken->tls.key = (const char *)taken->texts[1].bytes;
  taken->tls.authorities = (const char *)taken->texts[2].bytes;
  taken->tls.server_name = (const char *)taken->texts[3].bytes;
  return &taken->tls;
}

static void drop_tls(tls_texts *taken) {
  for (int i = 0; i < 4; i++) drop(&taken->texts[i]);
}

// ---- engine and queue -----------------------------------------------------------------------------------------------

ABI(jbyteArray, strerror)(ENV, jint code) {
  (void)self;
  const char *text = nebula_strerror(code);
  return array_of(env, text, strlen(text));
}

ABI(jlong, engineNew)(ENV, jbyteArray registry) {
  (void)self;
  nebula_error error = {NEBULA_E_VERSION, 0, "the library has another major version of the ABI"};
  slice text;
  if (nebula_abi() >> 16 != NEBULA_ABI_MAJOR) return refuse(env, &error);
  if (!take(env, &text, registry)) return no_memory(env);
  nebula_engine_options options = {.size = sizeof options, .registry = (const char *)text.bytes};
  nebula_engine *engine = nebula_engine_new(&options, &error);
  drop(&text);
  return engine == NULL ? refuse(env, &error) : (jlong)(intptr_t)engine;
}

ABI(jlong, queueNew)(ENV, jlong engine) {
  (void)self;
  nebula_error error;
  nebula_queue_options options = {.size = sizeof options, .event_size = sizeof(nebula_event)};
  nebula_queue *queue = nebula_queue_new(POINTER(nebula_engine, engine), &options, &error);
  return queue == NULL ? refuse(env, &error) : (jlong)(intptr_t)queue;
}

ABI(jobject, queueEvents)(ENV, jlong queue) {
  (void)self;
  void *events = (void *)(intptr_t)nebula_queue_events(POINTER(nebula_queue, queue));
  return (*env)->NewDirectByteBuffer(env, events, 256 * sizeof(nebula_event));  // as many as nebula.h says
}

ABI(jint, poll)(ENV, jlong queue, jint timeout_ms) {
  (void)env, (void)self;
  return nebula_poll(POINTER(nebula_queue, queue), timeout_ms);
}

ABI(jbyteArray, bytes)(ENV, jlong address, jint size) {
  (void)self;
  return array_of(env, POINTER(void, address), (size_t)size);
}

// ---- server ---------------------------------------------------------------------------------------------------------

ABI(jlong, serverNew)(ENV, jlong engine, jintArray numbers) {
  (void)self;
  nebula_error error;
  nebula_server_options options = {.size = sizeof options};
  (*env)->GetIntArrayRegion(env, numbers, 0, (jsize)(sizeof options / sizeof(jint)) - 1, (jint *)&options.max_message);
  nebula_server *server = nebula_server_new(POINTER(nebula_engine, engine), &options, &error);
  return server == NULL ? refuse(env, &error) : (jlong)(intptr_t)server;
}

ABI(jint, serverMethod)(ENV, jlong server, jbyteArray path, jint shape, jlong tag) {
  (void)self;
  slice text;
  if (!take(env, &text, path)) return NEBULA_E_NO_MEMORY;
  int32_t result =
      nebula_server_method(POINTER(nebula_server, server), (const char *)text.bytes, shape, (uint64_t)tag);
  drop(&text);
  return result;
}

ABI(jint, serverDescribe)(ENV, jlong server, jbyteArray descriptors) {
  (void)self;
  slice set;
  if (!take(env, &set, descriptors)) return NEBULA_E_NO_MEMORY;
  int32_t result = nebula_server_describe(POINTER(nebula_server, server), set.bytes, (uint32_t)set.size);
  drop(&set);
  return result;
}

ABI(jint, serverSchema)(ENV, jlong server, jbyteArray service, jbyteArray document) {
  (void)self;
  slice name, text;
  if (!take(env, &name, service)) return NEBULA_E_NO_MEMORY;
  int32_t result = NEBULA_E_NO_MEMORY;
  if (take(env, &text, document)) {
    result = nebula_server_schema(POINTER(nebula_server, server), (const char *)name.bytes, text.bytes, (uint32_t)text.size);
    drop(&text);
  }
  drop(&name);
  return result;
}

ABI(void, serverListen)(ENV, jlong server, jbyteArray address, jbyteArray announce, jobjectArray tls) {
  (void)self;
  nebula_error error = {NEBULA_E_NO_MEMORY, 0, ""};
  slice url, names;
  tls_texts texts;
  nebula_listen_options options = {.size = sizeof options, .tls = take_tls(env, &texts, tls)};
  int32_t result = NEBULA_E_NO_MEMORY;
  if (take(env, &url, address) & take(env, &names, announce)) {
    options.announce = (const char *)names.bytes;
    result = nebula_server_listen(POINTER(nebula_server, server), (const char *)url.bytes, &options, &error);
  }
  drop_tls(&texts);
  drop(&url);
  drop(&names);
  if (result < 0) refuse(env, &error);
}

ABI(void, serverStart)(ENV, jlong server, jlongArray queues) {
  (void)self;
  nebula_error error;
  jsize count = (*env)->GetArrayLength(env, queues);
  nebula_queue **pointers = calloc((size_t)count + 1, sizeof *pointers);
  if (pointers == NULL) {
    no_memory(env);
    return;
  }
  (*env)->GetLongArrayRegion(env, queues, 0, count, (jlong *)pointers);
  int32_t result = nebula_server_start(POINTER(nebula_server, server), pointers, count, &error);
  free(pointers);
  if (result < 0) refuse(env, &error);
}

ABI(jbyteArray, serverUrls)(ENV, jlong server) {
  (void)self;
  char urls[4096];
  int32_t size = nebula_server_urls(POINTER(nebula_server, server), urls, sizeof urls);
  return array_of(env, urls, size < COUNT(urls) ? (size_t)size : sizeof urls - 1);
}

ABI(jint, serverHealth)(ENV, jlong server, jbyteArray service, jint status) {
  (void)self;
  slice name;
  if (!take(env, &name, service)) return NEBULA_E_NO_MEMORY;
  int32_t result = nebula_server_health(POINTER(nebula_server, server), (const char *)name.bytes, status);
  drop(&name);
  return result;
}

ABI(jint, serverDrain)(ENV, jlong server, jint timeout_ms, jlong tag) {
  (void)env, (void)self;
  return nebula_server_drain(POINTER(nebula_server, server), timeout_ms, (uint64_t)tag);
}

ABI(void, serverFree)(ENV, jlong server) {
  (void)env, (void)self;
  nebula_server_free(POINTER(nebula_server, server));
}

ABI(jint, engineMetrics)(ENV, jlong engine, jlong queue, jlong tag) {
  (void)env, (void)self;
  return nebula_engine_metrics(POINTER(nebula_engine, engine), POINTER(nebula_queue, queue), (uint64_t)tag);
}

// ---- client ---------------------------------------------------------------------------------------------------------

ABI(jlong, channelNew)(ENV, jlong engine, jbyteArray target, jintArray numbers, jobjectArray tls, jbyteArray policy) {
  (void)self;
  nebula_error error = {NEBULA_E_NO_MEMORY, 0, ""};
  jint n[6];
  (*env)->GetIntArrayRegion(env, numbers, 0, COUNT(n), n);
  tls_texts texts;
  nebula_channel_options options = {
      .size = sizeof options, .max_message = (uint32_t)n[0], .keepalive_ms = (uint32_t)n[1],
      .keepalive_timeout_ms = (uint32_t)n[2], .keepalive_always = (uint32_t)n[3], .max_idle_ms = (uint32_t)n[4],
      .compression = (uint32_t)n[5], .tls = take_tls(env, &texts, tls)};
  slice url, text = {0};
  nebula_channel *channel = NULL;
  if (take(env, &url, target) && take(env, &text, policy)) {
    options.policy = (const char *)text.bytes;
    channel = nebula_channel_new(POINTER(nebula_engine, engine), (const char *)url.bytes, &options, &error);
  }
  drop_tls(&texts);
  drop(&text);
  drop(&url);
  return channel == NULL ? refuse(env, &error) : (jlong)(intptr_t)channel;
}

ABI(jlong, channelMethod)(ENV, jlong channel, jbyteArray path, jint shape) {
  (void)self;
  slice text;
  if (!take(env, &text, path)) return no_memory(env);
  uint64_t number = nebula_channel_method(POINTER(nebula_channel, channel), (const char *)text.bytes, shape);
  drop(&text);
  return (jlong)number;
}

ABI(void, channelFree)(ENV, jlong channel) {
  (void)env, (void)self;
  nebula_channel_free(POINTER(nebula_channel, channel));
}

// ---- call -----------------------------------------------------------------------------------------------------------

ABI(jlong, callStart)(ENV, jlong queue, jlong method, jlong tag, jlong timeout_us, jbyteArray metadata, jbyteArray data,
                      jint flags, jlong parent) {
  (void)self;
  slice fields, message;
  uint64_t call = 0;
  if (take(env, &fields, metadata) & take(env, &message, data))
    call = nebula_call_start_under(POINTER(nebula_queue, queue), (uint64_t)method, (uint64_t)tag, (uint64_t)timeout_us,
                                   fields.bytes, (uint32_t)fields.size, message.bytes, (uint32_t)message.size,
                                   (uint32_t)flags, (uint64_t)parent);
  drop(&fields);
  drop(&message);
  return (jlong)call;
}

ABI(jint, callSend)(ENV, jlong call, jbyteArray data, jint flags) {
  (void)self;
  if (data == NULL) return nebula_call_send((uint64_t)call, NULL, 0, (uint32_t)flags);
  jsize size = (*env)->GetArrayLength(env, data);
  nebula_buffer *buffer = nebula_buffer_new((uint32_t)size);
  if (buffer == NULL) return NEBULA_E_NO_MEMORY;
  (*env)->GetByteArrayRegion(env, data, 0, size, nebula_buffer_data(buffer));
  return nebula_call_give((uint64_t)call, buffer, (uint32_t)flags);
}

ABI(jint, callHeaders)(ENV, jlong call, jbyteArray metadata) {
  (void)self;
  slice fields;
  if (!take(env, &fields, metadata)) return NEBULA_E_NO_MEMORY;
  int32_t result = nebula_call_headers((uint64_t)call, fields.bytes, (uint32_t)fields.size);
  drop(&fields);
  return result;
}

ABI(jint, callFinish)(ENV, jlong call, jint status, jbyteArray message, jbyteArray metadata) {
  (void)self;
  slice text, fields;
  int32_t result = NEBULA_E_NO_MEMORY;
  if (take(env, &text, message) & take(env, &fields, metadata))
    result = nebula_call_finish((uint64_t)call, status, (const char *)text.bytes, fields.bytes, (uint32_t)fields.size);
  drop(&text);
  drop(&fields);
  return result;
}

ABI(jint, callCancel)(ENV, jlong call, jint status) {
  (void)env, (void)self;
  return nebula_call_cancel((uint64_t)call, status);
}

ABI(jint, callConsume)(ENV, jlong call, jlong bytes) {
  (void)env, (void)self;
  return nebula_call_consume((uint64_t)call, (uint64_t)bytes);
}

ABI(jbyteArray, callPeer)(ENV, jlong call) {
  (void)self;
  nebula_call_info info = {.size = sizeof info};
  if (nebula_call_describe((uint64_t)call, &info) < 0) info.peer[0] = 0;
  return array_of(env, info.peer, strlen(info.peer));
}
