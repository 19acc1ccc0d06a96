// abi.go - the C ABI as Go functions: the only file that knows C.
//
// cgo reads nebula.h itself, so there is no generated wrapper between. Each function here is one crossing. What an
// event means is decided in engine.go and above.
package nebula

/*
#include <stdlib.h>
#include "nebula.h"

// Go cannot tell C "no message" and "an empty one" apart by a slice's first element, so the first has a flag of its
// own.
static uint64_t start(nebula_queue *queue, uint64_t method, uint64_t tag, uint64_t timeout_us, const void *metadata,
                      uint32_t metadata_size, int has_data, const void *data, uint32_t size, uint32_t flags,
                      uint64_t parent) {
  if (!has_data) data = NULL;
  return nebula_call_start_under(queue, method, tag, timeout_us, metadata, metadata_size, data, size, flags, parent);
}
static int32_t send(uint64_t call, int has_data, const void *data, uint32_t size, uint32_t flags) {
  return nebula_call_send(call, has_data ? data : NULL, size, flags);
}

// Structs that point to others are filled in C, for memory of Go's must not hold pointers to memory of Go's here.
typedef struct { const char *certificate, *key, *authorities, *server_name; } tls_texts;
static nebula_tls tls_of(tls_texts texts) {
  nebula_tls tls = {sizeof tls, 0, texts.certificate, texts.key, texts.authorities, texts.server_name};
  return tls;
}
static int32_t listen(nebula_server *server, const char *address, const char *announce, int has_tls, tls_texts texts,
                      nebula_error *error) {
  nebula_tls tls = tls_of(texts);
  nebula_listen_options options = {sizeof options, 0, announce, has_tls ? &tls : NULL};
  return nebula_server_listen(server, address, &options, error);
}
static nebula_channel *dial(nebula_engine *engine, const char *target, nebula_channel_options options,
                            const char *policy, int has_tls, tls_texts texts, nebula_error *error) {
  nebula_tls tls = tls_of(texts);
  options.size = sizeof options;
  options.policy = policy;
  options.tls = has_tls ? &tls : NULL;
  return nebula_channel_new(engine, target, &options, error);
}
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// EngineError is what the engine refuses: an address that is taken, a file that cannot be read, a second start.
// errors.Is knows the errno behind it, if there is one.
type EngineError struct {
	Code    int // a NEBULA_E_... of nebula.h
	Message string
	errno   syscall.Errno
}

func (e *EngineError) Error() string { return e.Message }

// Unwrap gives the errno, for errors.Is(err, syscall.EADDRINUSE).
func (e *EngineError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

func engineError(code C.int32_t) error {
	return &EngineError{Code: int(code), Message: C.GoString(C.nebula_strerror(code))}
}

func engineErrorOf(code int32) error { return engineError(C.int32_t(code)) }

func refusal(e *C.nebula_error) error {
	message := strings.ToValidUTF8(C.GoString(&e.message[0]), "\uFFFD")
	if message == "" {
		return engineError(e.code)
	}
	return &EngineError{Code: int(e.code), Message: message, errno: syscall.Errno(e.system)}
}

// The first byte of a slice, which C may read; of an empty one a byte of our own.
var nothing [1]byte

func readable(b []byte) []byte {
	if len(b) == 0 {
		return nothing[:]
	}
	return b
}

// texts are C's copies of strings; "" is NULL.
type texts []*C.char

func (t *texts) of(s string) *C.char {
	if s == "" {
		return nil
	}
	p := C.CString(s)
	*t = append(*t, p)
	return p
}

func (t texts) free() {
	for _, p := range t {
		C.free(unsafe.Pointer(p))
	}
}

func (t *texts) ofTLS(tls *TLS) (C.int, C.tls_texts) {
	if tls == nil {
		return 0, C.tls_texts{}
	}
	return 1, C.tls_texts{t.of(tls.Certificate), t.of(tls.Key), t.of(tls.Authorities), t.of(tls.ServerName)}
}

// milliseconds is an option as the engine takes it, rounded up; 0 is its default.
func milliseconds(d time.Duration) C.uint32_t {
	if d <= 0 {
		return 0
	}
	return C.uint32_t(math.Min(float64((d+time.Millisecond-1)/time.Millisecond), math.MaxUint32))
}

// ---- engine and queue ---------------------------------------------------------------------------------------------

type engineHandle struct{ c *C.nebula_engine }

func newEngine() (engineHandle, error) {
	if major := C.nebula_abi() >> 16; major != C.NEBULA_ABI_MAJOR {
		return engineHandle{}, fmt.Errorf("nebula: the library has ABI %d, not %d", major, C.NEBULA_ABI_MAJOR)
	}
	var e C.nebula_error
	c := C.nebula_engine_new(nil, &e)
	if c == nil {
		return engineHandle{}, refusal(&e)
	}
	return engineHandle{c}, nil
}

type queueHandle struct {
	c      *C.nebula_queue
	events []C.nebula_event // of the queue's array, which is C memory
}

func newQueue(engine engineHandle) (queueHandle, error) {
	options := C.nebula_queue_options{batch: batchMax}
	options.size = C.uint32_t(unsafe.Sizeof(options))
	var e C.nebula_error
	c := C.nebula_queue_new(engine.c, &options, &e)
	if c == nil {
		return queueHandle{}, refusal(&e)
	}
	return queueHandle{c, unsafe.Slice((*C.nebula_event)(unsafe.Pointer(C.nebula_queue_events(c))), batchMax)}, nil
}

func (q queueHandle) fd() int { return int(C.nebula_queue_fd(q.c)) }

// poll makes one turn that waits for nothing, and returns the count of events.
func (q queueHandle) poll() int { return int(C.nebula_poll(q.c, 0)) }

// metrics asks for an event with what the engine has counted.
func (q queueHandle) metrics(engine engineHandle, tag uint64) error {
	if result := C.nebula_engine_metrics(engine.c, q.c, C.uint64_t(tag)); result < 0 {
		return engineError(result)
	}
	return nil
}

// event is a nebula_event in memory of Go's.
type event struct {
	call, tag, value uint64
	kind, flags      uint16
	status           int32
	data             []byte // nil: none
	joined           joined // of which it was made
	metadata         []byte
}

// event gives event i; if it is a message of a stream, with those that come right after it, as a run. It returns how many
// events that were.
func (q queueHandle) event(i, count int) (event, int) {
	c := &q.events[i]
	e := event{
		call: uint64(c.call), tag: uint64(c.tag), value: uint64(c.value),
		kind: uint16(c.kind), flags: uint16(c.flags), status: int32(c.status),
	}
	if run := q.events[i:q.endOfRun(i, count)]; len(run) > 1 {
		e.data, e.joined = joinedRun(run)
		e.flags = uint16(run[len(run)-1].flags) | flagRun
		return e, len(run)
	}
	e.data, e.joined = copied(c.data, c.size), joined{1, int(c.size)}
	e.metadata = copied(c.metadata, c.metadata_size)
	return e, 1
}

// joined says how many of the engine's events a message or run was, and with how many bytes: that is what it wants to hear
// of as consumed.
type joined struct{ events, bytes int }

// endOfRun: the events before are, from i on, messages of one stream, as many as are still small together.
func (q queueHandle) endOfRun(i, count int) int {
	first, size, end := &q.events[i], 0, i
	for ; first.kind == eventMessage && end < count; end++ {
		e := &q.events[end]
		size += prefixBytes + int(e.size)
		if e.kind != eventMessage || e.call != first.call || e.tag != first.tag || size > runBytes {
			break
		}
	}
	return end
}

func joinedRun(events []C.nebula_event) ([]byte, joined) {
	of := joined{events: len(events)}
	for i := range events {
		of.bytes += int(events[i].size)
	}
	all := make([]byte, 0, of.bytes+len(events)*prefixBytes)
	for i := range events {
		e := &events[i]
		if e.flags&flagRun == 0 {
			all = binary.BigEndian.AppendUint32(append(all, 0), uint32(e.size))
		}
		all = append(all, unsafe.Slice((*byte)(e.data), e.size)...)
	}
	return all, of
}

func copied(data *C.uint8_t, size C.uint32_t) []byte {
	if data == nil {
		return nil
	}
	return append(make([]byte, 0, size), unsafe.Slice((*byte)(data), size)...)
}

// ---- server -------------------------------------------------------------------------------------------------------

type serverHandle struct{ c *C.nebula_server }

func newServer(engine engineHandle, s *Server) (serverHandle, error) {
	options := C.nebula_server_options{
		max_message: C.uint32_t(s.MaxMessage), max_streams: C.uint32_t(s.MaxStreams),
		max_connections: C.uint32_t(s.MaxConnections), keepalive_ms: milliseconds(s.Keepalive),
		keepalive_timeout_ms: milliseconds(s.KeepaliveTimeout), min_ping_ms: milliseconds(s.MinPing),
		max_idle_ms: milliseconds(s.MaxIdle), max_age_ms: milliseconds(s.MaxAge),
		max_age_grace_ms: milliseconds(s.MaxAgeGrace), compression: C.uint32_t(s.Compression),
	}
	options.size = C.uint32_t(unsafe.Sizeof(options))
	var e C.nebula_error
	c := C.nebula_server_new(engine.c, &options, &e)
	if c == nil {
		return serverHandle{}, refusal(&e)
	}
	return serverHandle{c}, nil
}

func (s serverHandle) method(path string, shape int, tag uint64) error {
	var t texts
	defer t.free()
	if result := C.nebula_server_method(s.c, t.of(path), C.int32_t(shape), C.uint64_t(tag)); result < 0 {
		return engineError(result)
	}
	return nil
}

func (s serverHandle) describe(set []byte) error {
	if result := C.nebula_server_describe(s.c, unsafe.Pointer(&readable(set)[0]), C.uint32_t(len(set))); result < 0 {
		return engineError(result)
	}
	return nil
}

func (s serverHandle) schema(service string, document []byte) error {
	var t texts
	defer t.free()
	data := unsafe.Pointer(&readable(document)[0])
	if result := C.nebula_server_schema(s.c, t.of(service), data, C.uint32_t(len(document))); result < 0 {
		return engineError(result)
	}
	return nil
}

func (s serverHandle) listen(address, announce string, tls *TLS) error {
	var t texts
	defer t.free()
	var e C.nebula_error
	hasTLS, tlsTexts := t.ofTLS(tls)
	if C.listen(s.c, t.of(address), t.of(announce), hasTLS, tlsTexts, &e) < 0 {
		return refusal(&e)
	}
	return nil
}

func (s serverHandle) start(ports []*port) error {
	more := (*[1 << 16]*C.nebula_queue)(C.calloc(C.size_t(len(ports)), C.size_t(unsafe.Sizeof(uintptr(0)))))
	defer C.free(unsafe.Pointer(more))
	for i, p := range ports {
		more[i] = p.queue.c
	}
	var e C.nebula_error
	if C.nebula_server_start(s.c, &more[0], C.int32_t(len(ports)), &e) < 0 {
		return refusal(&e)
	}
	return nil
}

func (s serverHandle) urls() string {
	size := C.nebula_server_urls(s.c, nil, 0)
	out := make([]byte, size+1)
	C.nebula_server_urls(s.c, (*C.char)(unsafe.Pointer(&out[0])), C.uint32_t(len(out)))
	return string(out[:size])
}

func (s serverHandle) health(service string, status int) error {
	name := C.CString(service) // "" is the server as a whole
	defer C.free(unsafe.Pointer(name))
	if result := C.nebula_server_health(s.c, name, C.int32_t(status)); result < 0 {
		return engineError(result)
	}
	return nil
}

func (s serverHandle) drain(timeoutMs int, tag uint64) error {
	if result := C.nebula_server_drain(s.c, C.int32_t(timeoutMs), C.uint64_t(tag)); result < 0 {
		return engineError(result)
	}
	return nil
}

func (s serverHandle) free() { C.nebula_server_free(s.c) }

// ---- client -------------------------------------------------------------------------------------------------------

type channelHandle struct{ c *C.nebula_channel }

func newChannel(engine engineHandle, target string, o *ChannelOptions) (channelHandle, error) {
	options := C.nebula_channel_options{
		max_message: C.uint32_t(o.MaxMessage), keepalive_ms: milliseconds(o.Keepalive),
		keepalive_timeout_ms: milliseconds(o.KeepaliveTimeout), max_idle_ms: milliseconds(o.MaxIdle),
		compression: C.uint32_t(o.Compression),
	}
	if o.KeepaliveAlways {
		options.keepalive_always = 1
	}
	var t texts
	defer t.free()
	var e C.nebula_error
	hasTLS, tlsTexts := t.ofTLS(o.TLS)
	c := C.dial(engine.c, t.of(target), options, t.of(o.Policy), hasTLS, tlsTexts, &e)
	if c == nil {
		return channelHandle{}, refusal(&e)
	}
	return channelHandle{c}, nil
}

// method gives the number of a method, 0 if path is none.
func (c channelHandle) method(path string, shape int) uint64 {
	var t texts
	defer t.free()
	return uint64(C.nebula_channel_method(c.c, t.of(path), C.int32_t(shape)))
}

func (c channelHandle) free() { C.nebula_channel_free(c.c) }

// ---- call ---------------------------------------------------------------------------------------------------------

// start begins a call; 0 if it cannot be. data nil: no message. parent: the server's call for which it is made; 0: none.
func (q queueHandle) start(method, tag, timeoutUs uint64, metadata, data []byte, flags uint32, parent uint64) uint64 {
	m, d := readable(metadata), readable(data)
	return uint64(C.start(q.c, C.uint64_t(method), C.uint64_t(tag), C.uint64_t(timeoutUs),
		unsafe.Pointer(&m[0]), C.uint32_t(len(metadata)),
		has(data), unsafe.Pointer(&d[0]), C.uint32_t(len(data)), C.uint32_t(flags), C.uint64_t(parent)))
}

func has(data []byte) C.int {
	if data == nil {
		return 0
	}
	return 1
}

func callSend(call uint64, data []byte, flags uint32) int32 {
	d := readable(data)
	return int32(C.send(C.uint64_t(call), has(data), unsafe.Pointer(&d[0]), C.uint32_t(len(data)), C.uint32_t(flags)))
}

func callFinish(call uint64, status Code, message string, metadata []byte) int32 {
	m, text := readable(metadata), append([]byte(message), 0)
	return int32(C.nebula_call_finish(C.uint64_t(call), C.int32_t(status), (*C.char)(unsafe.Pointer(&text[0])),
		unsafe.Pointer(&m[0]), C.uint32_t(len(metadata))))
}

func callHeaders(call uint64, metadata []byte) int32 {
	m := readable(metadata)
	return int32(C.nebula_call_headers(C.uint64_t(call), unsafe.Pointer(&m[0]), C.uint32_t(len(metadata))))
}

func callCancel(call uint64, status Code) { C.nebula_call_cancel(C.uint64_t(call), C.int32_t(status)) }

func callConsume(call, bytes uint64) { C.nebula_call_consume(C.uint64_t(call), C.uint64_t(bytes)) }

// callPeer is "" once the call is over.
func callPeer(call uint64) string {
	var info C.nebula_call_info
	info.size = C.uint32_t(unsafe.Sizeof(info))
	if C.nebula_call_describe(C.uint64_t(call), &info) < 0 {
		return ""
	}
	return C.GoString(&info.peer[0])
}

// ---- constants of nebula.h ----------------------------------------------------------------------------------------

const (
	shapeUnary        = C.NEBULA_UNARY
	shapeClientStream = C.NEBULA_CLIENT_STREAM
	shapeServerStream = C.NEBULA_SERVER_STREAM
	shapeBidi         = C.NEBULA_BIDI
	shapeReading      = C.NEBULA_HOLD | C.NEBULA_RUNS // of a method that is read as a stream

	eventCall      = C.NEBULA_EV_CALL
	eventHeaders   = C.NEBULA_EV_HEADERS
	eventMessage   = C.NEBULA_EV_MESSAGE
	eventEnd       = C.NEBULA_EV_END
	eventFinished  = C.NEBULA_EV_FINISHED
	eventCancelled = C.NEBULA_EV_CANCELLED
	eventWritable  = C.NEBULA_EV_WRITABLE
	eventDrained   = C.NEBULA_EV_DRAINED

	flagEnd          = C.NEBULA_END
	flagCompress     = C.NEBULA_COMPRESS
	flagWantHeaders  = C.NEBULA_WANT_HEADERS
	flagWaitForReady = C.NEBULA_WAIT_FOR_READY
	flagIdempotent   = C.NEBULA_IDEMPOTENT
	flagJSON         = C.NEBULA_JSON
	flagCheck        = C.NEBULA_CHECK
	flagProto        = C.NEBULA_PROTO
	flagRun          = C.NEBULA_RUN

	full   = C.NEBULA_FULL
	eStale = C.NEBULA_E_STALE
	eState = C.NEBULA_E_STATE
)

// A Compression of messages. Do not compress what holds a secret beside what a stranger may choose: its size would
// tell.
type Compression uint32

const (
	Gzip Compression = C.NEBULA_GZIP // which every gRPC server knows
	Zstd Compression = C.NEBULA_ZSTD // which Nebula's do
)

const messageMax = math.MaxUint32
