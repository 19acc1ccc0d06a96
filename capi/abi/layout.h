/* layout.h - every number of ABI 1.0 as an assertion; written by tests/abi.py --accept, not by hand.
 *
 * For the engine, for C and C++, and for the native part of a binding; others take their own tables from here. A struct's
 * size is what it was when accepted: those with a `size` may grow at their end. */
#ifndef NEBULA_ABI_LAYOUT_H
#define NEBULA_ABI_LAYOUT_H
#include "nebula.h"
#ifdef __cplusplus
#define NEBULA_ASSERT(condition) static_assert(condition, #condition)
#else
#define NEBULA_ASSERT(condition) _Static_assert(condition, #condition)
#endif
#define NEBULA_VALUE(name, value) NEBULA_ASSERT((name) == (value))
#define NEBULA_SIZE(type, size) NEBULA_ASSERT(sizeof(type) == (size))
#define NEBULA_FIELD(type, field, at, size) NEBULA_ASSERT(offsetof(type, field) == (at) && sizeof(((type*)0)->field) == (size))

NEBULA_VALUE(NEBULA_ABI_MAJOR, 1);
NEBULA_VALUE(NEBULA_ABI_MINOR, 0);
NEBULA_VALUE(NEBULA_OK, 0);
NEBULA_VALUE(NEBULA_CANCELLED, 1);
NEBULA_VALUE(NEBULA_UNKNOWN, 2);
NEBULA_VALUE(NEBULA_INVALID_ARGUMENT, 3);
NEBULA_VALUE(NEBULA_DEADLINE_EXCEEDED, 4);
NEBULA_VALUE(NEBULA_NOT_FOUND, 5);
NEBULA_VALUE(NEBULA_ALREADY_EXISTS, 6);
NEBULA_VALUE(NEBULA_PERMISSION_DENIED, 7);
NEBULA_VALUE(NEBULA_RESOURCE_EXHAUSTED, 8);
NEBULA_VALUE(NEBULA_FAILED_PRECONDITION, 9);
NEBULA_VALUE(NEBULA_ABORTED, 10);
NEBULA_VALUE(NEBULA_OUT_OF_RANGE, 11);
NEBULA_VALUE(NEBULA_UNIMPLEMENTED, 12);
NEBULA_VALUE(NEBULA_INTERNAL, 13);
NEBULA_VALUE(NEBULA_UNAVAILABLE, 14);
NEBULA_VALUE(NEBULA_DATA_LOSS, 15);
NEBULA_VALUE(NEBULA_UNAUTHENTICATED, 16);
NEBULA_VALUE(NEBULA_FULL, 100);
NEBULA_VALUE(NEBULA_E_ARGUMENT, -1);
NEBULA_VALUE(NEBULA_E_STALE, -2);
NEBULA_VALUE(NEBULA_E_STATE, -3);
NEBULA_VALUE(NEBULA_E_CLOSED, -4);
NEBULA_VALUE(NEBULA_E_BUSY, -5);
NEBULA_VALUE(NEBULA_E_NO_MEMORY, -6);
NEBULA_VALUE(NEBULA_E_ADDRESS, -7);
NEBULA_VALUE(NEBULA_E_TLS, -8);
NEBULA_VALUE(NEBULA_E_VERSION, -9);
NEBULA_VALUE(NEBULA_E_SYSTEM, -10);
NEBULA_VALUE(NEBULA_E_FORKED, -11);
NEBULA_VALUE(NEBULA_UNARY, 0);
NEBULA_VALUE(NEBULA_CLIENT_STREAM, 1);
NEBULA_VALUE(NEBULA_SERVER_STREAM, 2);
NEBULA_VALUE(NEBULA_BIDI, 3);
NEBULA_VALUE(NEBULA_HOLD, 8);
NEBULA_VALUE(NEBULA_RUNS, 16);
NEBULA_VALUE(NEBULA_FATE_UNSENT, 0);
NEBULA_VALUE(NEBULA_FATE_UNPROCESSED, 1);
NEBULA_VALUE(NEBULA_FATE_UNKNOWN, 2);
NEBULA_VALUE(NEBULA_FATE_PROCESSED, 3);
NEBULA_VALUE(NEBULA_FAULT_NONE, 0);
NEBULA_VALUE(NEBULA_FAULT_CALLER, 1);
NEBULA_VALUE(NEBULA_FAULT_NETWORK, 2);
NEBULA_VALUE(NEBULA_FAULT_CALLEE, 3);
NEBULA_VALUE(NEBULA_FAULT_OVERLOAD, 4);
NEBULA_VALUE(NEBULA_EV_CALL, 1);
NEBULA_VALUE(NEBULA_EV_HEADERS, 2);
NEBULA_VALUE(NEBULA_EV_MESSAGE, 3);
NEBULA_VALUE(NEBULA_EV_END, 4);
NEBULA_VALUE(NEBULA_EV_FINISHED, 5);
NEBULA_VALUE(NEBULA_EV_CANCELLED, 6);
NEBULA_VALUE(NEBULA_EV_WRITABLE, 7);
NEBULA_VALUE(NEBULA_EV_DRAINED, 10);
NEBULA_VALUE(NEBULA_EV_WAKE, 12);
NEBULA_VALUE(NEBULA_EV_METRICS, 13);
NEBULA_VALUE(NEBULA_END, 1);
NEBULA_VALUE(NEBULA_COMPRESS, 2);
NEBULA_VALUE(NEBULA_WANT_HEADERS, 4);
NEBULA_VALUE(NEBULA_WAIT_FOR_READY, 8);
NEBULA_VALUE(NEBULA_IDEMPOTENT, 16);
NEBULA_VALUE(NEBULA_JSON, 32);
NEBULA_VALUE(NEBULA_PROTO, 64);
NEBULA_VALUE(NEBULA_GZIP, 128);
NEBULA_VALUE(NEBULA_ZSTD, 256);
NEBULA_VALUE(NEBULA_CHECK, 512);
NEBULA_VALUE(NEBULA_RUN, 1024);
NEBULA_VALUE(NEBULA_QUEUE_INLINE, 0);
NEBULA_VALUE(NEBULA_QUEUE_THREADED, 1);
NEBULA_VALUE(NEBULA_SPREAD_CALL, 0);
NEBULA_VALUE(NEBULA_SPREAD_CONNECTION, 1);
NEBULA_SIZE(nebula_call_info, 400);
NEBULA_FIELD(nebula_call_info, size, 0, 4);
NEBULA_FIELD(nebula_call_info, shape, 4, 4);
NEBULA_FIELD(nebula_call_info, method, 8, 256);
NEBULA_FIELD(nebula_call_info, peer, 264, 128);
NEBULA_FIELD(nebula_call_info, left_us, 392, 8);
NEBULA_SIZE(nebula_channel_options, 48);
NEBULA_FIELD(nebula_channel_options, size, 0, 4);
NEBULA_FIELD(nebula_channel_options, max_message, 4, 4);
NEBULA_FIELD(nebula_channel_options, keepalive_ms, 8, 4);
NEBULA_FIELD(nebula_channel_options, keepalive_timeout_ms, 12, 4);
NEBULA_FIELD(nebula_channel_options, keepalive_always, 16, 4);
NEBULA_FIELD(nebula_channel_options, max_idle_ms, 20, 4);
NEBULA_FIELD(nebula_channel_options, tls, 24, 8);
NEBULA_FIELD(nebula_channel_options, compression, 32, 4);
NEBULA_FIELD(nebula_channel_options, reserved, 36, 4);
NEBULA_FIELD(nebula_channel_options, policy, 40, 8);
NEBULA_SIZE(nebula_engine_options, 24);
NEBULA_FIELD(nebula_engine_options, size, 0, 4);
NEBULA_FIELD(nebula_engine_options, io_threads, 4, 4);
NEBULA_FIELD(nebula_engine_options, registry, 8, 8);
NEBULA_FIELD(nebula_engine_options, memory_limit, 16, 8);
NEBULA_SIZE(nebula_error, 256);
NEBULA_FIELD(nebula_error, code, 0, 4);
NEBULA_FIELD(nebula_error, system, 4, 4);
NEBULA_FIELD(nebula_error, message, 8, 248);
NEBULA_SIZE(nebula_event, 64);
NEBULA_FIELD(nebula_event, call, 0, 8);
NEBULA_FIELD(nebula_event, tag, 8, 8);
NEBULA_FIELD(nebula_event, kind, 16, 2);
NEBULA_FIELD(nebula_event, flags, 18, 2);
NEBULA_FIELD(nebula_event, status, 20, 4);
NEBULA_FIELD(nebula_event, data, 24, 8);
NEBULA_FIELD(nebula_event, metadata, 32, 8);
NEBULA_FIELD(nebula_event, size, 40, 4);
NEBULA_FIELD(nebula_event, metadata_size, 44, 4);
NEBULA_FIELD(nebula_event, buffer, 48, 8);
NEBULA_FIELD(nebula_event, value, 56, 8);
NEBULA_SIZE(nebula_listen_options, 24);
NEBULA_FIELD(nebula_listen_options, size, 0, 4);
NEBULA_FIELD(nebula_listen_options, reserved, 4, 4);
NEBULA_FIELD(nebula_listen_options, announce, 8, 8);
NEBULA_FIELD(nebula_listen_options, tls, 16, 8);
NEBULA_SIZE(nebula_queue_options, 24);
NEBULA_FIELD(nebula_queue_options, size, 0, 4);
NEBULA_FIELD(nebula_queue_options, mode, 4, 4);
NEBULA_FIELD(nebula_queue_options, event_size, 8, 4);
NEBULA_FIELD(nebula_queue_options, batch, 12, 4);
NEBULA_FIELD(nebula_queue_options, capacity, 16, 4);
NEBULA_FIELD(nebula_queue_options, reserved, 20, 4);
NEBULA_SIZE(nebula_server_options, 48);
NEBULA_FIELD(nebula_server_options, size, 0, 4);
NEBULA_FIELD(nebula_server_options, max_message, 4, 4);
NEBULA_FIELD(nebula_server_options, max_streams, 8, 4);
NEBULA_FIELD(nebula_server_options, max_connections, 12, 4);
NEBULA_FIELD(nebula_server_options, keepalive_ms, 16, 4);
NEBULA_FIELD(nebula_server_options, keepalive_timeout_ms, 20, 4);
NEBULA_FIELD(nebula_server_options, min_ping_ms, 24, 4);
NEBULA_FIELD(nebula_server_options, max_idle_ms, 28, 4);
NEBULA_FIELD(nebula_server_options, max_age_ms, 32, 4);
NEBULA_FIELD(nebula_server_options, max_age_grace_ms, 36, 4);
NEBULA_FIELD(nebula_server_options, compression, 40, 4);
NEBULA_FIELD(nebula_server_options, spread, 44, 4);
NEBULA_SIZE(nebula_tls, 40);
NEBULA_FIELD(nebula_tls, size, 0, 4);
NEBULA_FIELD(nebula_tls, flags, 4, 4);
NEBULA_FIELD(nebula_tls, certificate, 8, 8);
NEBULA_FIELD(nebula_tls, key, 16, 8);
NEBULA_FIELD(nebula_tls, authorities, 24, 8);
NEBULA_FIELD(nebula_tls, server_name, 32, 8);

#undef NEBULA_FIELD
#undef NEBULA_SIZE
#undef NEBULA_VALUE
#undef NEBULA_ASSERT
#endif
