// incoming.go - a call as its handler has it.
package nebula

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// A message of an error travels in the trailers, which have little room.
const errorBytesMax = 2000

// Incoming is a call that is being handled: what a handler may know and do about it besides its arguments.
type Incoming struct {
	server *Server
	flow   *flow // the call's number, and the messages of a stream
	method *handler
	block  []byte
	asJSON bool
	cancel context.CancelFunc
	done   <-chan struct{} // of its context

	filtered *FilteredCall // the innermost filter's; nil: there are none

	lock       sync.Mutex
	hasHeaders bool // that were sent
	trailers   []byte
	died       *Error
}

type incoming struct{}

// IncomingCall is the call that ctx is of, nil outside of handlers.
func IncomingCall(ctx context.Context) *Incoming {
	c, _ := ctx.Value(incoming{}).(*Incoming)
	return c
}

// newIncoming also gives the handler's context: it ends with the call's deadline, when the caller leaves, and when the
// handler has returned.
func newIncoming(h *handler, p *port, e *event) (*Incoming, context.Context) {
	c := &Incoming{server: h.server, flow: newFlow(p, e.call), method: h, block: e.metadata, asJSON: e.flags&flagJSON != 0}
	ctx := context.WithValue(context.Background(), incoming{}, c)
	if e.value != 0 {
		ctx, c.cancel = context.WithTimeout(ctx, time.Duration(e.value)*time.Microsecond)
	} else {
		ctx, c.cancel = context.WithCancel(ctx)
	}
	c.done = ctx.Done()
	return c, ctx
}

// Method is the path of the method: "/hello/greet".
func (c *Incoming) Method() string { return c.method.path }

// Metadata is what the caller sent beside the request.
func (c *Incoming) Metadata() Metadata {
	if c.filtered != nil {
		return c.filtered.Metadata
	}
	return unpack(c.block)
}

// Peer is who calls: "tcp://127.0.0.1:40812" or "unix:..."; "" once the call is over.
func (c *Incoming) Peer() string { return callPeer(c.flow.call) }

// SendHeaders sends metadata ahead of the answer: at most once, and before the first one.
func (c *Incoming) SendHeaders(namesAndValues ...string) error {
	block, err := MD(namesAndValues...).pack()
	if err != nil {
		return err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.hasHeaders {
		return errors.New("nebula: the headers were sent already")
	}
	c.hasHeaders = true
	c.flow.flush() // it is too late if there was something
	if result := callHeaders(c.flow.call, block); result < 0 && result != eStale {
		return engineErrorOf(result)
	}
	return nil
}

// SetTrailers sets the metadata that goes after the answer, or the last of them, or with an error that has none. The
// last one set counts.
func (c *Incoming) SetTrailers(namesAndValues ...string) error {
	block, err := MD(namesAndValues...).pack()
	if err == nil {
		c.lock.Lock()
		c.trailers = block
		c.lock.Unlock()
	}
	return err
}

// die: nobody waits for the answer any more.
func (c *Incoming) die(code Code) {
	c.lock.Lock()
	c.died = &Error{Code: code, Message: c.method.label + ": the caller waits no more"}
	c.lock.Unlock()
	// A deadline ends the context by itself, and with that reason, now or in a moment. The streams end no sooner, so that
	// a handler whose stream has failed finds its context ended.
	if code == DeadlineExceeded {
		go func() {
			<-c.done
			c.flow.end()
		}()
		return
	}
	c.cancel()
	c.flow.end()
}

// heed: a handler's call ends by what its caller does.
func (c *Incoming) heed() {}

func (c *Incoming) failure() error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.died == nil {
		return nil
	}
	return c.died
}

func (c *Incoming) unreadable(why error) error { return c.method.badRequest(why) }

// send encodes the single answer and sends it.
func (c *Incoming) send(answer any) error {
	data, err := encode(answer, c.asJSON)
	if err != nil {
		c.server.logf("nebula: %s: the result cannot be encoded: %v", c.method.label, err)
		return Errorf(Internal, "%s: the result cannot be encoded: %v", c.method.label, err)
	}
	c.answer(data)
	return nil
}

// answer sends the single answer, or ends a stream of them (nil), with what there is of trailers.
func (c *Incoming) answer(data []byte) {
	c.lock.Lock()
	trailers := c.trailers
	c.lock.Unlock()
	if data == nil {
		c.flow.flush()
	}
	result := int32(0)
	switch {
	case trailers == nil:
		result = callSend(c.flow.call, data, flagEnd|flagCompress)
	case data != nil:
		result = callSend(c.flow.call, data, flagCompress)
	}
	if trailers != nil && result >= 0 {
		result = callFinish(c.flow.call, OK, "", trailers)
	}
	if result < 0 && result != eStale {
		c.server.logf("nebula: %s: the answer was not sent: %v", c.method.label, engineErrorOf(result))
	}
}

// fail ends the call with an error of the handler's.
func (c *Incoming) fail(err error) {
	code, message := CodeOf(err), err.Error()
	c.lock.Lock()
	trailers := c.trailers
	c.lock.Unlock()
	var e *Error
	if errors.As(err, &e) {
		if err == error(e) {
			message = e.Message
		}
		// Those of another server, handed on, may not be ours to send.
		if block, err := e.Trailers.pack(); err == nil && block != nil {
			trailers = block
		}
	}
	if code == OK {
		code, message = Unknown, "the handler failed with code OK: "+message
	}
	c.flow.flush()
	callFinish(c.flow.call, code, sendable(message), trailers)
}

// sendable is UTF-8 without NUL, and not too long.
func sendable(message string) string {
	message = strings.ReplaceAll(strings.ToValidUTF8(message, "\uFFFD"), "\x00", " ")
	if len(message) <= errorBytesMax {
		return message
	}
	end := errorBytesMax
	for !utf8.RuneStart(message[end]) {
		end--
	}
	return message[:end]
}
