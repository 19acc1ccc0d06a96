/* nebula.h - the C ABI of the Nebula engine. 64-bit targets; C99 and C++11.
 *
 * Five conventions hold for all functions:
 *  1. A function that returns int32_t returns 0 (or a count) when it worked and a negative NEBULA_E_... when it did not.
 *     A constructor returns NULL and fills `error`, if one was given.
 *  2. Strings are UTF-8 and end in NUL. They and all other memory that you pass stay yours: the engine has copied
 *     what it needs when the call returns. The exception is nebula_call_give, which takes a buffer over.
 *  3. Options and out-structs begin with `size`; set it to sizeof. NULL options and zero fields mean the default.
 *  4. Everything may be called from any thread, except that a queue is polled by one thread at a time, and that
 *     objects are freed in the order: calls end, channels and servers, queues, engine.
 *  5. Nothing of the engine ever calls you from a thread of its own. All that happens is an event of a queue.
 */
#ifndef NEBULA_H
#define NEBULA_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define NEBULA_ABI_MAJOR 1
#define NEBULA_ABI_MINOR 0
#if defined(SWIG)
#define NEBULA_API
#elif !defined(NEBULA_API)
#define NEBULA_API __attribute__((visibility("default")))
#endif

/* ---- types ------------------------------------------------------------------------------------- */
typedef struct nebula_engine  nebula_engine;
typedef struct nebula_queue   nebula_queue;
typedef struct nebula_server  nebula_server;
typedef struct nebula_channel nebula_channel;
typedef struct nebula_buffer  nebula_buffer;
/* A call and a method are numbers: 0 < n < 2^53, never reused within reach. Using a finished call is harmless: the
   answer is NEBULA_E_STALE, and it can never reach another call. */

/* ---- results: 0..16 are gRPC's status codes, negative ones are the engine's own ------------------- */
enum {
  NEBULA_OK = 0, NEBULA_CANCELLED = 1, NEBULA_UNKNOWN = 2, NEBULA_INVALID_ARGUMENT = 3,
  NEBULA_DEADLINE_EXCEEDED = 4, NEBULA_NOT_FOUND = 5, NEBULA_ALREADY_EXISTS = 6,
  NEBULA_PERMISSION_DENIED = 7, NEBULA_RESOURCE_EXHAUSTED = 8, NEBULA_FAILED_PRECONDITION = 9,
  NEBULA_ABORTED = 10, NEBULA_OUT_OF_RANGE = 11, NEBULA_UNIMPLEMENTED = 12, NEBULA_INTERNAL = 13,
  NEBULA_UNAVAILABLE = 14, NEBULA_DATA_LOSS = 15, NEBULA_UNAUTHENTICATED = 16,
  NEBULA_FULL = 100,        /* taken, but the send buffer is over its mark: a WRITABLE event will say when to go on */
  NEBULA_E_ARGUMENT = -1,   /* an argument is out of its range */
  NEBULA_E_STALE = -2,      /* the call is over */
  NEBULA_E_STATE = -3,      /* not in this state: listen after start, a second answer, ... */
  NEBULA_E_CLOSED = -4,     /* the queue or server is being freed */
  NEBULA_E_BUSY = -5,       /* another thread polls this queue */
  NEBULA_E_NO_MEMORY = -6,
  NEBULA_E_ADDRESS = -7,    /* the address is malformed, taken, or not ours to use */
  NEBULA_E_TLS = -8,        /* certificate, key or authorities cannot be used; the message names the file */
  NEBULA_E_VERSION = -9,    /* options hold fields that this engine does not know */
  NEBULA_E_SYSTEM = -10,    /* the system refused; nebula_error.system is the errno */
  NEBULA_E_FORKED = -11     /* a forked child must make an engine of its own */
};
typedef struct nebula_error { int32_t code; int32_t system; char message[248]; } nebula_error;

/* ---- shapes of a method: how many messages go each way ------------------------------------------- */
enum {
  NEBULA_UNARY = 0, NEBULA_CLIENT_STREAM = 1, NEBULA_SERVER_STREAM = 2, NEBULA_BIDI = 3,
  NEBULA_HOLD = 8,          /* added to a shape: the peer may send more only as nebula_call_consume says (else: as
                               polls take the messages) */
  NEBULA_RUNS = 16          /* added to a shape: a MESSAGE event may be a NEBULA_RUN */
};

/* ---- what is known of a call that has ended, for whoever wants to repeat it ------------------------ */
enum {                      /* value & 255 of a FINISHED event: where its request got to */
  NEBULA_FATE_UNSENT = 0,   /* it never left this process */
  NEBULA_FATE_UNPROCESSED = 1, /* the peer says that its application has not seen it */
  NEBULA_FATE_UNKNOWN = 2,  /* the connection was lost, or we gave up */
  NEBULA_FATE_PROCESSED = 3 /* the peer's application has answered or refused it */
};
enum {                      /* value >> 8 & 255 of a FINISHED event: whose fault a failure is */
  NEBULA_FAULT_NONE = 0, NEBULA_FAULT_CALLER = 1, NEBULA_FAULT_NETWORK = 2, NEBULA_FAULT_CALLEE = 3,
  NEBULA_FAULT_OVERLOAD = 4
};

/* ---- events ---------------------------------------------------------------------------------------- */
enum {
  NEBULA_EV_CALL = 1,      /* server: a call; tag = its method's; a single request is inside */
  NEBULA_EV_HEADERS = 2,   /* client: response headers, if asked for with NEBULA_WANT_HEADERS */
  NEBULA_EV_MESSAGE = 3,   /* one message of a stream, or a NEBULA_RUN of them; with NEBULA_END: the last (server) */
  NEBULA_EV_END = 4,       /* server: the client has ended its stream with no message in hand */
  NEBULA_EV_FINISHED = 5,  /* client, last: status, trailers and a single response, or the message of the error */
  NEBULA_EV_CANCELLED = 6, /* server, last: the call died before it was answered; status = why */
  NEBULA_EV_WRITABLE = 7,  /* after NEBULA_FULL: the send buffer fell under its low mark */
  NEBULA_EV_DRAINED = 10,  /* a server has drained; tag = the one given to nebula_server_drain */
  NEBULA_EV_WAKE = 12,     /* nebula_wake was called; tag = its */
  NEBULA_EV_METRICS = 13   /* data = what nebula_engine_metrics has asked for; tag = its */
};
enum {
  NEBULA_END = 1,          /* the last message of this direction */
  NEBULA_COMPRESS = 2,     /* compress this message, if its call has a compression and it gets smaller by it */
  NEBULA_WANT_HEADERS = 4,
  NEBULA_WAIT_FOR_READY = 8, /* wait for an instance until the deadline instead of failing fast */
  NEBULA_IDEMPOTENT = 16,    /* to be executed twice does no harm: the engine may try again what has failed */
  NEBULA_JSON = 32,        /* content-type application/grpc+json */
  NEBULA_PROTO = 64,       /* content-type application/grpc+proto; neither: the method's own codec */
  NEBULA_GZIP = 128,       /* nebula_call_start: the compression of this call, in place of the channel's */
  NEBULA_ZSTD = 256,
  NEBULA_CHECK = 512,      /* nebula_call_start, with NEBULA_JSON: see there */
  NEBULA_RUN = 1024        /* nebula_call_send, MESSAGE: data is messages one behind the other, each after the five bytes that
                              gRPC's wire has before it: 0, and its size, big-endian. Small ones cost far less so */
};

typedef struct nebula_event {
  uint64_t call;            /* the call, or 0 */
  uint64_t tag;             /* yours */
  uint16_t kind;            /* NEBULA_EV_... */
  uint16_t flags;           /* NEBULA_END, NEBULA_JSON, NEBULA_PROTO, NEBULA_RUN */
  int32_t  status;
  const uint8_t *data;      /* message, or text of the status; NULL: none. Borrowed until the queue's next poll */
  const uint8_t *metadata;  /* block of { u32 name size, u32 value size, name, value }..., borrowed */
  uint32_t size, metadata_size;
  nebula_buffer *buffer;    /* owns data; nebula_buffer_ref it to keep data longer; may be NULL */
  uint64_t value;           /* CALL: microseconds left, 0 = no deadline; FINISHED: fate and fault; WRITABLE: bytes
                               that may be sent before it is full again */
} nebula_event;             /* 64 bytes: one cache line */

/* ---- options ------------------------------------------------------------------------------------------ */
enum { NEBULA_QUEUE_INLINE = 0, NEBULA_QUEUE_THREADED = 1 };
enum { NEBULA_SPREAD_CALL = 0, NEBULA_SPREAD_CONNECTION = 1 };
typedef struct nebula_engine_options {
  uint32_t size, io_threads;      /* io_threads: for threaded queues; 0: a thread for each core, 4 at most */
  const char *registry;           /* "host:", "etcd://a:1", "host: etcd://a:1"; NULL: $NEBULA_REGISTRY, else "host:" */
  uint64_t memory_limit;          /* must be 0 in this version */
} nebula_engine_options;
typedef struct nebula_queue_options {
  uint32_t size, mode;            /* INLINE: the thread that polls does the I/O; THREADED: I/O threads do */
  uint32_t event_size;            /* stride of the event array; 0: sizeof(nebula_event) */
  uint32_t batch;                 /* events of one poll at most; 0: 256, of a client those of 32 calls */
  uint32_t capacity;              /* undelivered events from which on new calls are refused; 0: 200,000 */
  uint32_t reserved;
} nebula_queue_options;
/* For tls:// addresses; docs/tls.md. Files are PEM, and read again when they have changed: new connections use the new
   ones. In place of this struct the address may say it:
   tls://host:port?cert=<certificate>&key=<key>&ca=<authorities>&name=<server_name> */
typedef struct nebula_tls {
  uint32_t size, flags;           /* flags: must be 0 */
  const char *certificate, *key;  /* ours, with its intermediates; a server must have one. key NULL: in the same file */
  const char *authorities;        /* who may vouch for the peer. NULL: the system's; on a server: no client is asked */
  const char *server_name;        /* client: what the server's certificate must be for; NULL: the host of the address */
} nebula_tls;
typedef struct nebula_server_options {
  uint32_t size, max_message;     /* bytes of a request at most; 0: 4 MiB */
  uint32_t max_streams;           /* calls of one connection at a time; 0: 1,000 */
  uint32_t max_connections;       /* beyond, the oldest idle one is closed; each inline queue, or I/O thread, has
                                     its share. 0: by the process's limit of descriptors */
  uint32_t keepalive_ms;          /* pings a client that was silent for so long; 0: 2 h */
  uint32_t keepalive_timeout_ms;  /* closes if nothing comes within so long after; 0: 20 s */
  uint32_t min_ping_ms;           /* apart clients' pings must be, or they are too many; 0: 5 min, 2 h without calls */
  uint32_t max_idle_ms;           /* a connection without calls for so long is drained; 0: never */
  uint32_t max_age_ms;            /* any connection is drained at this age, +-10 %; 0: never */
  uint32_t max_age_grace_ms;      /* and cut off so long after; 0: never */
  uint32_t compression;           /* of responses with NEBULA_COMPRESS: NEBULA_GZIP, NEBULA_ZSTD; 0: none. A caller that
                                     does not accept it gets one that it does, or none. Requests need no option */
  uint32_t spread;                /* over threaded queues. CALL: each call to the queue that has the fewest open;
                                     CONNECTION: all of a connection to one, in their order; connections in turn */
} nebula_server_options;
typedef struct nebula_listen_options {
  uint32_t size, reserved;
  const char *announce;           /* names to announce, comma-separated; NULL: see nebula_server_listen */
  const nebula_tls *tls;          /* of a tls:// address */
} nebula_listen_options;
typedef struct nebula_channel_options {
  uint32_t size, max_message;     /* bytes of a response at most; 0: 4 MiB */
  uint32_t keepalive_ms;          /* pings a server that was silent for so long, at least 10,000; 0: never */
  uint32_t keepalive_timeout_ms;  /* the connection is lost if nothing comes within so long after; 0: 20 s */
  uint32_t keepalive_always;      /* 1: also without calls */
  uint32_t max_idle_ms;           /* without calls for so long, connections are closed until the next one; 0: 30 min */
  const nebula_tls *tls;          /* of a tls:// address; with nebula: of instances at such, and only they are called */
  uint32_t compression, reserved; /* of requests with NEBULA_COMPRESS: NEBULA_GZIP, which all servers know, NEBULA_ZSTD;
                                     0: none. Responses need no option. reserved: must be 0 */
  const char *policy;             /* "balancer=p2c: retry:?tries=3 breaker=ratio:?open=0.4", or lines "channel name: ...",
                                     or gRPC's service config, "{...}", or "file:/path" or "registry:name" of such a
                                     text, which is read again when it changes; docs/policies.md. What it does not say is as
                                     $NEBULA_POLICY says, or the default */
} nebula_channel_options;
typedef struct nebula_call_info {
  uint32_t size;
  int32_t shape;
  char method[256], peer[128];    /* "/shop.v1.Cart/Add", "unix:/run/..."; cut where longer */
  uint64_t left_us;               /* until the deadline; UINT64_MAX: none */
} nebula_call_info;

/* ---- library ------------------------------------------------------------------------------------------- */
NEBULA_API const char *nebula_version(void);               /* "0.1.0" */
NEBULA_API uint32_t    nebula_abi(void);                   /* major << 16 | minor */
NEBULA_API const char *nebula_strerror(int32_t code);      /* "NEBULA_E_STALE: the call is over"; never NULL */

/* ---- engine --------------------------------------------------------------------------------------------- */
NEBULA_API nebula_engine *nebula_engine_new(const nebula_engine_options *options, nebula_error *error);
NEBULA_API void           nebula_engine_free(nebula_engine *engine);   /* NULL is fine, here and below */

/* What the engine has counted, as JSON in a METRICS event of the queue: {"metrics": ..., "channels": ...}, as docs/metrics.md
   has them. Each loop is asked in its turn: one that nobody polls within 40 ms. */
NEBULA_API int32_t        nebula_engine_metrics(nebula_engine *engine, nebula_queue *queue, uint64_t tag);

/* ---- queue: events come out of it; one thread at a time polls it ------------------------------------------
   While nobody polls, a thread of the engine keeps its connections alive: pings are answered, and what was submitted is
   sent, within 40 ms. Events wait for the poll. */
NEBULA_API nebula_queue  *nebula_queue_new(nebula_engine *engine, const nebula_queue_options *options, nebula_error *error);
/* Open calls end without an event. Servers started on this queue must have been freed. */
NEBULA_API void           nebula_queue_free(nebula_queue *queue);
/* Readable whenever nebula_poll has something to do: for poll, epoll, asyncio, libuv. Not yours to read or close. */
NEBULA_API int32_t        nebula_queue_fd(nebula_queue *queue);
/* The array that nebula_poll fills; one address for life. */
NEBULA_API const nebula_event *nebula_queue_events(nebula_queue *queue);
/* One turn: sends what was submitted, reads, runs timers, waits at most timeout_ms (negative: for ever) if there was
   nothing to deliver. Returns the count of events, now in the array. */
NEBULA_API int32_t        nebula_poll(nebula_queue *queue, int32_t timeout_ms);
/* Ends a poll that waits, with an event of kind WAKE. From any thread; not from a signal handler. */
NEBULA_API int32_t        nebula_wake(nebula_queue *queue, uint64_t tag);
typedef int32_t (*nebula_handler)(void *context, const nebula_event *event);      /* not 0: stop */
/* Polls and hands each event to handler, on this thread, until it returns other than 0; returns that. */
NEBULA_API int32_t        nebula_run(nebula_queue *queue, nebula_handler handler, void *context);

/* ---- server ----------------------------------------------------------------------------------------------- */
NEBULA_API nebula_server *nebula_server_new(nebula_engine *engine, const nebula_server_options *options, nebula_error *error);
/* path: "/service/method". shape: one of the four, and NEBULA_HOLD or NEBULA_RUNS, or both. tag: comes with each call of it. */
NEBULA_API int32_t        nebula_server_method(nebula_server *server, const char *path, int32_t shape, uint64_t tag);
/* tcp://host:port (0: any), tls://host:port, unix:/path, mem:name. NULL: a Unix socket beside the registry's records,
   and tcp://127.0.0.1:P with P the first free port from a hash of the first announced name on, in 20000-29999.
   Announced is what options say; with address NULL and no names given, every service that has a method. */
NEBULA_API int32_t        nebula_server_listen(nebula_server *server, const char *address, const nebula_listen_options *options, nebula_error *error);
/* Binds, listens, announces; returns when every watcher on this host can see it. With several queues each listens at
   the same addresses, keeps the connections that come to it and gets their calls: one thread polls each. So they spread
   connections, not the calls of one. Over threaded queues calls spread as the server's options say. All must
   be of one mode. */
NEBULA_API int32_t        nebula_server_start(nebula_server *server, nebula_queue **queues, int32_t count, nebula_error *error);
/* The addresses in use, separated by spaces, ending in NUL, cut at size. Returns the full length. */
NEBULA_API int32_t        nebula_server_urls(nebula_server *server, char *out, uint32_t size);
/* What grpc.health.v1 and the registry say of a service ("" = the whole server): 1 SERVING, 2 NOT_SERVING, so that callers by
   name leave this server alone. */
NEBULA_API int32_t        nebula_server_health(nebula_server *server, const char *service, int32_t status);
/* What the server's protobuf services look like, for grpc.reflection: a serialized google.protobuf.FileDescriptorSet
   (protoc --include_imports --descriptor_set_out). Before start; may be given in parts. */
NEBULA_API int32_t        nebula_server_describe(nebula_server *server, const void *descriptor_set, uint32_t size);
/* What a service looks like, for callers with NEBULA_CHECK: a JSON document,
     {"service": "hello", "methods": [{"name": "greet", "shape": "unary", "request": {...}, "response": {...}}], "$defs": {...}}
   with a JSON Schema for each message and all methods of the service. {"$ref": "#/$defs/shop.v1.Order"} may name a message
   of nebula_server_describe without defining it; a service of one of those files needs no document at all. Before start,
   which fails with NEBULA_E_ARGUMENT where the methods are not those that the server has. NEBULA_E_ARGUMENT: this is no
   description of that service, or the second one. docs/description.md. */
NEBULA_API int32_t        nebula_server_schema(nebula_server *server, const char *service, const void *json, uint32_t size);
/* Says in the registry that it drains, tells clients to go elsewhere (GOAWAY), lets running calls end, withdraws. After
   timeout_ms (negative: 10 s) it ends what still runs; a DRAINED event of queues[0] follows. docs/discovery.md. */
NEBULA_API int32_t        nebula_server_drain(nebula_server *server, int32_t timeout_ms, uint64_t tag);
/* Without a drain before, running calls are cut off. */
NEBULA_API void           nebula_server_free(nebula_server *server);

/* ---- client ------------------------------------------------------------------------------------------------- */
/* nebula://name (one service), nebula: (the first part of each method's path is the name), or a plain address:
   tcp://host:port, tls://host:port, unix:/path, mem:name. Connects when a call needs it, on the loop of that call's
   queue. */
NEBULA_API nebula_channel *nebula_channel_new(nebula_engine *engine, const char *target, const nebula_channel_options *options, nebula_error *error);
/* A number for nebula_call_start; 0 if path is not "/service/method" or shape is none. Valid as long as the channel;
   the same path and shape give the same number. */
NEBULA_API uint64_t       nebula_channel_method(nebula_channel *channel, const char *path, int32_t shape);
/* Open calls end with CANCELLED, at their queues' next poll. */
NEBULA_API void           nebula_channel_free(nebula_channel *channel);

/* ---- call: from any thread ------------------------------------------------------------------------------------ */
/* timeout_us 0: no deadline. data NULL: no message; not NULL with size 0: an empty one. Where the method streams
   requests data is the first one or none, and nebula_call_send may follow unless flags have NEBULA_END; else data and
   NEBULA_END must be given.
   A call has a compression if its channel has one or flags name it; then each message may have NEBULA_COMPRESS or not.
   Do not compress what holds a secret beside what a stranger may choose: its size would tell (CRIME, BREACH).
   NEBULA_CHECK has the messages looked at before they are sent: the channel fetches the service's description once, by the
   way of the call and within its deadline, and a message that is not what the method takes ends the call with
   INVALID_ARGUMENT, fate UNSENT and words that name the field, an unknown method with UNIMPLEMENTED. A service without a
   description is called unchecked.
   Returns the call, or 0 for bad arguments, no memory, or after fork; whatever else goes wrong is its FINISHED event. */
NEBULA_API uint64_t nebula_call_start(nebula_queue *queue, uint64_t method, uint64_t tag, uint64_t timeout_us,
                                      const void *metadata, uint32_t metadata_size,
                                      const void *data, uint32_t size, uint32_t flags);
/* The same for a call that is made while handling another one: parent is that of the server. All that are made for one
   share the retries which its caller leaves to it, so that a tree of services does not multiply them; and where they were in
   vain its error tells the caller not to try again, unless its trailers have a grpc-retry-pushback-ms: docs/policies.md.
   0, or a call that is over: made for none. The deadline is yours to hand on. */
NEBULA_API uint64_t nebula_call_start_under(nebula_queue *queue, uint64_t method, uint64_t tag, uint64_t timeout_us,
                                            const void *metadata, uint32_t metadata_size,
                                            const void *data, uint32_t size, uint32_t flags, uint64_t parent);
/* Server: metadata to go before the response; at most once, before the first answer. A method that streams responses
   sends it at once. */
NEBULA_API int32_t  nebula_call_headers(uint64_t call, const void *metadata, uint32_t metadata_size);
/* One message, or a NEBULA_RUN of them, which is taken or refused as a whole. NULL with NEBULA_END: none, only the end.
   NEBULA_FULL: taken, but do wait.
   Client: of a method that streams requests; NEBULA_END ends its stream of requests (half-close).
   Server: with NEBULA_END the status is OK and the id is dead then; without, more may follow where the method streams
   responses, and at last nebula_call_finish, for trailers. The codec is the request's unless flags name one. A single
   response is kept until the client reads it: one alone always, beside others on its connection up to 256 MiB in all
   (16 MiB of a client whose streams begin with a window of less than 16 KiB). Beyond, the call ends with
   RESOURCE_EXHAUSTED: stream what is so large. */
NEBULA_API int32_t  nebula_call_send(uint64_t call, const void *data, uint32_t size, uint32_t flags);
/* The same from a buffer of nebula_buffer_new, without a copy; takes the reference over, also on failure. */
NEBULA_API int32_t  nebula_call_give(uint64_t call, nebula_buffer *buffer, uint32_t flags);
/* Server: ends the call with a status 0..16, a message (may be NULL) and trailers. A single response sent before goes
   out only if the status is OK; those of a stream have gone. The id is dead then. */
NEBULA_API int32_t  nebula_call_finish(uint64_t call, int32_t status, const char *message,
                                       const void *metadata, uint32_t metadata_size);
/* Client: ends the call with that status (CANCELLED or another of 1..16); FINISHED follows. Server: the same as
   nebula_call_finish with that status. */
NEBULA_API int32_t  nebula_call_cancel(uint64_t call, int32_t status);
/* With NEBULA_HOLD: that many bytes of MESSAGE events have been dealt with, so the peer may send as many more. The engine
   hands out 256 KiB, or about 2,000 events, ahead of this. 0 is for empty ones. */
NEBULA_API int32_t  nebula_call_consume(uint64_t call, uint64_t bytes);
/* Events of this call carry this tag from now on. */
NEBULA_API int32_t  nebula_call_tag(uint64_t call, uint64_t tag);
NEBULA_API int32_t  nebula_call_describe(uint64_t call, nebula_call_info *out);

/* ---- buffer: counted, from any thread ---------------------------------------------------------------------------- */
NEBULA_API nebula_buffer *nebula_buffer_new(uint32_t size);
NEBULA_API void          *nebula_buffer_data(nebula_buffer *buffer);
NEBULA_API int32_t        nebula_buffer_trim(nebula_buffer *buffer, uint32_t size);  /* to fewer bytes, before it is given */
NEBULA_API nebula_buffer *nebula_buffer_ref(nebula_buffer *buffer);
NEBULA_API void           nebula_buffer_unref(nebula_buffer *buffer);

#ifdef __cplusplus
}
#endif
#endif
