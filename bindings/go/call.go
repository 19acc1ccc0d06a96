// call.go - calling: one request, one answer. Streams are in stream.go.
package nebula

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// A CallOption is what one call wants beyond its context.
type CallOption func(*outgoingCall)

// Via takes a channel other than the common one, which finds services by their names.
func Via(c *Channel) CallOption { return func(o *outgoingCall) { o.channel = c } }

// WaitForReady waits for an instance until the deadline, rather than fail with Unavailable when there is none.
func WaitForReady() CallOption { return func(o *outgoingCall) { o.flags |= flagWaitForReady } }

// Idempotent: being executed twice does no harm.
func Idempotent() CallOption { return func(o *outgoingCall) { o.flags |= flagIdempotent } }

// Compress compresses the requests, whatever the channel's compression is.
func Compress(c Compression) CallOption { return func(o *outgoingCall) { o.flags |= uint32(c) } }

// Headers is where the metadata goes that comes before the answer of a Call; streams have a method of that name.
func Headers(m *Metadata) CallOption {
	return func(o *outgoingCall) { o.headers, o.flags = m, o.flags|flagWantHeaders }
}

// Trailers is where the metadata goes that comes after the answer of a Call, or with its error.
func Trailers(m *Metadata) CallOption { return func(o *outgoingCall) { o.trailers = m } }

// outgoingCall is what the arguments of a call come to.
type outgoingCall struct {
	channel           *Channel
	filters           []Filter
	flags             uint32
	headers, trailers *Metadata

	name      string
	method    uint64
	timeoutUs uint64 // 0: no deadline
	parent    uint64 // the call for which it is made; 0: none
	metadata  []byte
	codec     codec
}

func prepare(ctx context.Context, name string, shape int, options []CallOption) (*outgoingCall, error) {
	o := &outgoingCall{name: name, flags: flagCompress}
	for _, option := range options {
		option(o)
	}
	var err error
	if o.channel == nil {
		if o.channel, err = commonChannel(); err != nil {
			return nil, err
		}
	}
	if o.channel.filters != nil {
		o.filters = append(o.channel.filters[:len(o.channel.filters):len(o.channel.filters)], o.filters...)
	}
	if err := ctx.Err(); err != nil {
		return nil, &Error{Code: CodeOf(err), Message: labelOf(name) + ": " + err.Error(), Fault: CallerFault}
	}
	if o.method, err = o.channel.number(name, shape); err != nil {
		return nil, err
	}
	if deadline, has := ctx.Deadline(); has {
		o.timeoutUs = 1 // one that passes just now is the shortest
		if left := time.Until(deadline); left > time.Microsecond {
			o.timeoutUs = uint64(left.Microseconds())
		}
	}
	if c := IncomingCall(ctx); c != nil {
		o.parent = c.flow.call
	}
	if m, has := ctx.Value(outgoing{}).(Metadata); has {
		if o.metadata, err = m.pack(); err != nil {
			return nil, refused("%s: %v", labelOf(name), err)
		}
	}
	return o, nil
}

// choose says how the messages travel: as the request's type has it.
func (o *outgoingCall) choose(in, out codec) error {
	if in == codecProto && out == codecJSON {
		return refused("%s: a protobuf message is answered by one: let the answer's type be its class", labelOf(o.name))
	}
	o.codec = in
	o.flags |= in.flag()
	if in == codecJSON {
		o.flags |= flagCheck // there is no generated class that has done so
	}
	return nil
}

func (o *outgoingCall) start(p *port, r receiver, data []byte, flags uint32) (tag, call uint64, err error) {
	tag = newTag()
	p.know(tag, r) // its events may come before the number of the call does
	call = p.queue.start(o.method, tag, o.timeoutUs, o.metadata, data, o.flags|flags, o.parent)
	if call == 0 {
		p.forget(tag)
		return 0, 0, refused("%s: the engine did not take the call: is its channel closed?", labelOf(o.name))
	}
	return tag, call, nil
}

// unaryCall waits for the end of one call.
type unaryCall struct {
	headers Metadata
	ended   chan event
}

func (u *unaryCall) receive(p *port, e event) {
	switch e.kind {
	case eventHeaders:
		u.headers = unpack(e.metadata)
	case eventFinished:
		p.forget(e.tag)
		u.ended <- e
	}
}

// Call calls a method by its name, "hello.greet" or "/hello/greet", and returns the answer.
//
//	greeting, err := nebula.Call[string](ctx, "hello.greet", nebula.M{"name": "Ada"})
//	now, err := nebula.Call[*clock.NowReply](ctx, "demo.v1.Clock.Now", &clock.NowRequest{})
//
// A protobuf message travels as protobuf, []byte as it is, all else as JSON, which is checked against the service's
// description before it is sent: the error names the field. The call has the deadline of ctx, ends
// when ctx does, and takes the metadata of WithMetadata along. The error of a call that failed is an *Error.
func Call[Out any](ctx context.Context, method string, request any, options ...CallOption) (Out, error) {
	o, err := prepare(ctx, method, shapeUnary, options)
	if err != nil {
		var none Out
		return none, err
	}
	if o.filters != nil {
		return callFiltered[Out](ctx, o.filters, method, request, options)
	}
	return callOnce[Out](ctx, o, request)
}

func callOnce[Out any](ctx context.Context, o *outgoingCall, request any) (Out, error) {
	var none Out
	method := o.name
	in, out := codecOfValue(request), codecOf[Out]()
	if err := o.choose(in, out); err != nil {
		return none, err
	}
	data, err := encode(request, false)
	if err != nil {
		return none, refused("%s: the request cannot be encoded: %v", labelOf(method), err)
	}
	e, err := o.run(ctx, data)
	if err != nil {
		return none, err
	}
	if e.data == nil {
		return none, malformed(labelOf(method), fmt.Errorf("there is no message"))
	}
	value, err := decode[Out](e.data, in == codecJSON)
	if err != nil {
		return none, malformed(labelOf(method), err)
	}
	return value, nil
}

// How the engine begins its word on a unary call whose peer answered otherwise.
const notOneAnswer = "this method answers with one message"

func (o *outgoingCall) run(ctx context.Context, data []byte) (*event, error) {
	u := &unaryCall{ended: make(chan event, 1)}
	_, call, err := o.start(anyPort(), u, data, flagEnd)
	if err != nil {
		return nil, err
	}
	var e event
	select {
	case e = <-u.ended:
	case <-ctx.Done():
		callCancel(call, CodeOf(ctx.Err()))
		e = <-u.ended // at the next turn of its port
	}
	runtime.KeepAlive(o.channel) // collected, it would end the call
	if o.headers != nil {
		*o.headers = u.headers
	}
	if o.trailers != nil {
		*o.trailers = unpack(e.metadata)
	}
	if e.status == int32(Unimplemented) && strings.HasPrefix(string(e.data), notOneAnswer) {
		e.data = []byte(labelOf(o.name) + " answers with a stream: nebula.CallServerStream calls it")
	}
	return &e, failureOf(&e)
}
