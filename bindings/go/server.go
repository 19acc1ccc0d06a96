// server.go - serving: methods are functions, each call has a goroutine while it is handled.
package nebula

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Server answers for services. Register methods, then Run, Serve or Start. The zero value serves what has been
// registered, found by its name: on a Unix socket and a port of 127.0.0.1. Fields are set before Start; zero is the
// default.
type Server struct {
	Addresses []string // tcp://host:port (0: any port), tls://host:port, unix:/path, mem:name; none: found by name
	Announce  []string // names to register; none: those of the services if there is no address, else none
	TLS       *TLS     // of tls:// addresses

	MaxMessage       uint32        // bytes of a request at most; 0: 4 MiB
	MaxStreams       uint32        // calls of one connection at a time; 0: 1,000
	MaxConnections   uint32        // beyond, the oldest idle one is closed; 0: by the process's limit of descriptors
	Keepalive        time.Duration // pings a client that was silent for so long; 0: 2 h
	KeepaliveTimeout time.Duration // closes if nothing comes within so long after; 0: 20 s
	MinPing          time.Duration // apart clients' pings must be; 0: 5 min, 2 h without calls
	MaxIdle          time.Duration // a connection without calls for so long is drained; 0: never
	MaxAge           time.Duration // any connection is drained at this age, +-10 %; 0: never
	MaxAgeGrace      time.Duration // and cut off so long after; 0: never
	Compression      Compression   // of answers to callers that accept it; 0: none

	Filters []Filter // around all calls; the first is the outermost

	DrainTimeout time.Duration // that running calls get at the end; 0: 10 s
	ErrorLog     *log.Logger   // is told of handlers that panic; nil: the log package's

	lock    sync.Mutex
	methods []*handler
	refusal error // of the first method that cannot be served
	handle  serverHandle
	state   serverState
	running map[uint64]*Incoming
	gone    chan struct{} // closed with it
}

type serverState int

const (
	notStarted serverState = iota
	started
	closed
)

// handler is a registered method: the receiver of all events of its calls.
type handler struct {
	server *Server
	path   string // "/hello/greet"
	label  string // "hello.greet"
	shape  int
	codec  codec
	types  []reflect.Type // of request and answer
	tag    uint64
	serve  serveFunc
	decode func(request []byte, asJSON bool) (any, error)
}

// What runs for each call of a method. It answers, or returns the error to end the call with.
type serveFunc func(ctx context.Context, c *Incoming, request []byte) error

func add[In, Out any](s *Server, name string, shape int, serve serveFunc) {
	in, out := codecOf[In](), codecOf[Out]()
	s.lock.Lock()
	defer s.lock.Unlock()
	path, err := pathOf(name)
	switch {
	case err != nil:
	case s.state != notStarted:
		err = fmt.Errorf("%s: the server has started already", name)
	case in != out && in != codecBytes && out != codecBytes:
		err = fmt.Errorf("%s: request and answer must be both protobuf messages, or both none", labelOf(name))
	}
	if err != nil {
		if s.refusal == nil {
			s.refusal = fmt.Errorf("nebula: %w", err)
		}
		return
	}
	kind := in
	if in == codecBytes {
		kind = out
	}
	types := []reflect.Type{typeOf[In](), typeOf[Out]()}
	read := func(data []byte, asJSON bool) (any, error) { return decode[In](data, asJSON) }
	s.methods = append(s.methods, &handler{s, path, labelOf(path), shape, kind, types, newTag(), serve, read})
}

// Unary registers a method: one request, one answer.
//
//	nebula.Unary(&server, "hello.greet", func(ctx context.Context, in Person) (string, error) { ... })
//
// Requests and answers are protobuf messages (pointers to them, which callers may also send as proto3's JSON),
// []byte, or any other type as JSON, where a field that is not there or has another type is refused before the
// handler runs. What it returns as an error is what its caller sees: an *Error as it is, any other as Unknown. ctx
// ends when nobody waits for the answer any more; calls made with it inherit its deadline. See IncomingCall for the
// rest.
//
// A method that cannot be served, for its name is malformed or taken, fails the server's start.
func Unary[In, Out any](s *Server, name string, handle func(ctx context.Context, request In) (Out, error)) {
	add[In, Out](s, name, shapeUnary, func(ctx context.Context, c *Incoming, data []byte) error {
		request, err := requestOf[In](c, data)
		if err != nil {
			return err
		}
		return reply(c, func() (Out, error) { return handle(ctx, request) })
	})
}

// ServerStream registers a method that answers with many messages.
func ServerStream[In, Out any](
	s *Server, name string, handle func(ctx context.Context, request In, answers *Writer[Out]) error,
) {
	add[In, Out](s, name, shapeServerStream, func(ctx context.Context, c *Incoming, data []byte) error {
		request, err := requestOf[In](c, data)
		if err != nil {
			return err
		}
		return finish(c, handle(ctx, request, writerOf[Out](c)))
	})
}

// ClientStream registers a method that answers many messages with one.
func ClientStream[In, Out any](
	s *Server, name string, handle func(ctx context.Context, requests *Reader[In]) (Out, error),
) {
	add[In, Out](s, name, shapeClientStream|shapeReading, func(ctx context.Context, c *Incoming, _ []byte) error {
		return reply(c, func() (Out, error) { return handle(ctx, readerOf[In](c)) })
	})
}

// Bidi registers a method that takes and gives many messages.
func Bidi[In, Out any](s *Server, name string, handle func(ctx context.Context, stream *Stream[In, Out]) error) {
	add[In, Out](s, name, shapeBidi|shapeReading, func(ctx context.Context, c *Incoming, _ []byte) error {
		return finish(c, handle(ctx, &Stream[In, Out]{*readerOf[In](c), *writerOf[Out](c)}))
	})
}

func requestOf[In any](c *Incoming, data []byte) (In, error) {
	if c.filtered != nil {
		message, err := c.filtered.Request()
		if err != nil {
			var none In
			return none, err
		}
		return typed[In](message)
	}
	request, err := decode[In](data, c.asJSON)
	if err != nil {
		return request, c.method.badRequest(err)
	}
	return request, nil
}

func readerOf[In any](c *Incoming) *Reader[In] {
	r := &Reader[In]{flow: c.flow, side: c, asJSON: c.asJSON}
	if c.filtered != nil {
		r.change = c.filtered.changeRequest
	}
	return r
}

func writerOf[Out any](c *Incoming) *Writer[Out] {
	w := &Writer[Out]{flow: c.flow, side: c, asJSON: c.asJSON}
	if c.filtered != nil {
		w.change = c.filtered.changeAnswer
	}
	return w
}

func reply[Out any](c *Incoming, handle func() (Out, error)) error {
	value, err := handle()
	if err != nil {
		return err
	}
	if c.filtered != nil {
		c.filtered.Answer = value
		return nil
	}
	return c.send(value)
}

func finish(c *Incoming, err error) error {
	if err == nil && c.filtered == nil { // else when the filters have ended
		c.answer(nil)
	}
	return err
}

// ---- calls --------------------------------------------------------------------------------------------------------

func (h *handler) receive(p *port, e event) {
	if e.kind == eventCall {
		c, ctx := newIncoming(h, p, &e)
		if err := h.checkCodec(&e); err != nil {
			c.cancel()
			c.fail(err)
			return
		}
		h.server.lock.Lock()
		h.server.running[e.call] = c
		h.server.lock.Unlock()
		job{ctx, c, e.data}.begin()
		return
	}
	h.server.lock.Lock()
	c := h.server.running[e.call]
	h.server.lock.Unlock()
	switch {
	case c == nil:
	case e.kind == eventCancelled:
		c.die(Code(e.status))
	default:
		c.flow.on(&e)
	}
}

func (h *handler) run(j job) {
	c, hasReturned := j.call, false
	defer func() {
		if reason := recover(); reason != nil {
			h.server.logf("nebula: %s panicked: %v\n%s", h.label, reason, debug.Stack())
			c.fail(Errorf(Unknown, "%s panicked: %v", h.label, reason))
		} else if !hasReturned { // runtime.Goexit
			c.fail(Errorf(Unknown, "%s ended its goroutine", h.label))
		}
		h.server.lock.Lock()
		delete(h.server.running, c.flow.call)
		h.server.lock.Unlock()
		c.cancel()
		c.flow.end() // whoever still holds a stream of it gets no answer
	}()
	serve := h.serve
	if h.server.Filters != nil {
		serve = h.serveFiltered
	}
	if err := serve(j.ctx, c, j.request); err != nil {
		c.fail(err)
	}
	hasReturned = true
}

// checkCodec refuses a codec that is not the method's. The method's own is that of `application/grpc` alone.
func (h *handler) checkCodec(e *event) error {
	name, isOurs := "", true
	switch {
	case e.flags&flagJSON != 0:
	case e.flags&flagProto != 0:
		name, isOurs = "proto", h.codec != codecJSON
	case bytes.Contains(e.metadata, []byte("content-type")): // an unusual one travels as this field
		if _, rest, has := strings.Cut(unpack(e.metadata).Get("content-type"), "application/grpc+"); has {
			name, isOurs = rest, false
		}
	}
	if isOurs || h.codec == codecBytes {
		return nil
	}
	accepted := "application/grpc+json"
	if h.codec == codecProto {
		accepted = "application/grpc+proto and " + accepted
	}
	return Errorf(Unimplemented, "%s accepts %s, not application/grpc+%s", h.label, accepted, name)
}

func (h *handler) badRequest(why error) error {
	if text := why.Error(); strings.HasPrefix(text, "has no field") {
		return Errorf(InvalidArgument, "%s %s", h.label, text)
	}
	return Errorf(InvalidArgument, "%s: %v", h.label, why)
}

func (s *Server) logf(format string, arguments ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog.Printf(format, arguments...)
	} else {
		log.Printf(format, arguments...)
	}
}

// ---- its life -----------------------------------------------------------------------------------------------------

// Start listens and announces; when it returns every watcher on this host can see it. A server is started once. The
// error says which method, address or file cannot be used.
func (s *Server) Start() (err error) {
	if err := open(); err != nil {
		return err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.refusal != nil {
		return s.refusal
	}
	if s.state != notStarted {
		return errors.New("nebula: a server is started once")
	}
	if s.handle, err = newServer(process.engine, s); err != nil {
		return err
	}
	s.running, s.gone = map[uint64]*Incoming{}, make(chan struct{})
	s.state = started
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	for _, h := range s.methods {
		if err := s.handle.method(h.path, h.shape, h.tag); err != nil {
			return fmt.Errorf("nebula: %s: taken, or no method: %w", h.label, err)
		}
		for _, p := range process.ports {
			p.know(h.tag, h)
		}
	}
	for service, document := range documents(s.methods) {
		if err := s.handle.schema(service, document); err != nil {
			return err
		}
	}
	if set := descriptorSet(s.methods); set != nil {
		if err := s.handle.describe(set); err != nil {
			return err
		}
	}
	addresses := s.Addresses
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	for _, address := range addresses {
		tls := s.TLS
		if !strings.HasPrefix(address, "tls:") {
			tls = nil
		}
		if err := s.handle.listen(address, strings.Join(s.Announce, ","), tls); err != nil {
			return err
		}
	}
	return s.handle.start(process.ports)
}

// URLs is the addresses in use, with the ports that were chosen; nil while it does not run.
func (s *Server) URLs() []string {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.state != started {
		return nil
	}
	return strings.Fields(s.handle.urls())
}

// SetHealth is what grpc.health.v1 says of a service; "" is the server as a whole.
func (s *Server) SetHealth(service string, isServing bool) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.state != started {
		return errors.New("nebula: the server does not run")
	}
	status := 2
	if isServing {
		status = 1
	}
	return s.handle.health(service, status)
}

// drained waits for the event of that name.
type drained chan struct{}

func (d drained) receive(p *port, e event) {
	p.forget(e.tag)
	close(d)
}

// Drain withdraws from the registry, sends clients elsewhere, and waits until running calls have ended; those that
// have not within DrainTimeout are cut off. Close ends it.
func (s *Server) Drain() error {
	timeout := s.DrainTimeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	s.lock.Lock()
	if s.state != started {
		s.lock.Unlock()
		return errors.New("nebula: the server does not run")
	}
	done, gone, tag, first := make(drained), s.gone, newTag(), process.ports[0]
	first.know(tag, done)
	defer first.forget(tag)
	err := s.handle.drain(int(timeout/time.Millisecond), tag)
	s.lock.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-gone:
	}
	return nil
}

// Close stops at once: calls that run are cut off. Harmless when repeated.
func (s *Server) Close() {
	s.lock.Lock()
	var cut []*Incoming
	if s.state == started {
		s.stop()
		for _, c := range s.running {
			cut = append(cut, c)
		}
	}
	s.lock.Unlock()
	for _, c := range cut {
		c.die(Cancelled)
	}
}

func (s *Server) stop() {
	s.state = closed
	s.handle.free()
	close(s.gone)
	for _, h := range s.methods {
		for _, p := range process.ports {
			p.forget(h.tag)
		}
	}
}

// Serve starts, unless that was done, and serves until ctx ends. Then it drains, and returns nil.
func (s *Server) Serve(ctx context.Context) error {
	s.lock.Lock()
	isStarted := s.state == started
	s.lock.Unlock()
	if !isStarted {
		if err := s.Start(); err != nil {
			return err
		}
	}
	defer s.Close()
	<-ctx.Done()
	return s.Drain()
}
