// stream.go - streams, as their users on either side have them, and the calls that open them.
package nebula

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"

	"google.golang.org/protobuf/proto"
)

// A side is what an end of a streaming call knows beyond its flow.
type side interface {
	// heed ends the call if its context has ended: whoever was told to do so may not have come to it yet.
	heed()
	// failure is how the call ended; nil: well. Called when it is over, or when the peer sends no more.
	failure() error
	// unreadable is the error of a message that cannot be decoded, and ends the call where that is ours to do.
	unreadable(why error) error
}

// Reader receives the messages of a stream. One goroutine at a time.
type Reader[T any] struct {
	flow   *flow
	side   side
	asJSON bool
	change Change // of filters; nil: there are none
}

// Recv waits for the next message. io.EOF: there are no more, and all went well. An *Error: the call failed.
func (r *Reader[T]) Recv() (T, error) {
	var none T
	defer runtime.KeepAlive(r) // collected, a client's stream would be cancelled
	r.side.heed()
	data := r.flow.receive()
	if data == nil {
		if err := r.side.failure(); err != nil {
			return none, err
		}
		return none, io.EOF
	}
	value, err := decode[T](data, r.asJSON)
	if err != nil {
		return none, r.side.unreadable(err)
	}
	return changed(r.change, value)
}

// Writer sends the messages of a stream. One goroutine at a time.
type Writer[T any] struct {
	flow   *flow
	side   side
	asJSON bool
	change Change
	buffer []byte // the last message; it may be written over
}

// Send sends a message, and waits while the peer does not read. Once the call is over it returns how that ended: an
// *Error, or io.EOF if it ended well.
func (w *Writer[T]) Send(message T) error {
	defer runtime.KeepAlive(w)
	message, err := changed(w.change, message)
	if err != nil {
		return err
	}
	data, err := w.encode(message)
	if err != nil {
		return refused("the message cannot be encoded: %v", err)
	}
	w.side.heed()
	return w.ended(w.flow.send(data))
}

// encode gives bytes that are the caller's until the next message.
func (w *Writer[T]) encode(message T) ([]byte, error) {
	m, isProto := any(message).(proto.Message)
	if !isProto || w.asJSON {
		return encode(message, w.asJSON)
	}
	data, err := proto.MarshalOptions{}.MarshalAppend(w.buffer[:0], m)
	if len(data) < runBytes { // a larger one would stay
		w.buffer = data
	}
	if data == nil { // which would be none
		data = nothing[:0]
	}
	return data, err
}

func (w *Writer[T]) ended(err error) error {
	if err != errOver {
		return err
	}
	w.flow.wait(func() bool { return w.flow.over })
	if err := w.side.failure(); err != nil {
		return err
	}
	return io.EOF
}

// Stream receives messages of type R and sends messages of type S. One goroutine may receive while another sends.
type Stream[R, S any] struct {
	Reader[R]
	Writer[S]
}

// ---- the caller's side --------------------------------------------------------------------------------------------

// streamCall is one end of a stream, for as long as the port knows it. Its user has a handle that it does not refer
// to, so that a stream that nobody uses any more can be collected and ends.
type streamCall struct {
	*flow
	ctx     context.Context
	label   string
	channel *Channel // collected, it would end the call
	around  *around  // its filters; nil: there are none
	done    chan struct{}

	lock       sync.Mutex
	headers    Metadata
	hasHeaders bool
	last       event
}

func (c *streamCall) receive(p *port, e event) {
	switch e.kind {
	case eventHeaders:
		c.update(func() { c.headers, c.hasHeaders = unpack(e.metadata), true })
	case eventFinished:
		p.forget(e.tag)
		// At once: whoever has the answer finds that the call is over.
		c.update(func() {
			if e.status == 0 && e.data != nil { // the single response of a stream of requests
				c.inbox = append(c.inbox, piece{data: e.data})
			}
			c.last, c.over, c.ended = e, true, true
		})
		close(c.done)
	default:
		c.on(&e)
	}
}

func (c *streamCall) heed() {
	if err := c.ctx.Err(); err != nil {
		c.cancel(CodeOf(err))
	}
}

func (c *streamCall) failure() error {
	<-c.done
	if c.around != nil {
		return c.around.end()
	}
	return failureOf(&c.last)
}

func (c *streamCall) unreadable(why error) error {
	callCancel(c.call, Cancelled)
	return malformed(c.label, why)
}

// CallStream is a stream of the caller's: it receives messages of type R and sends messages of type S. It ends when
// both sides have ended, with its context, by Close, and when it is no longer referenced.
type CallStream[R, S any] struct {
	Stream[R, S]
	call *streamCall
}

// CloseSend tells the peer that no more messages come. Answers still may.
func (s *CallStream[R, S]) CloseSend() error {
	defer runtime.KeepAlive(s)
	if err := s.Writer.flow.endSending(); err != errOver {
		return err
	}
	return nil
}

// CloseAndRecv does so and waits for the single answer to a stream of requests.
func (s *CallStream[R, S]) CloseAndRecv() (R, error) {
	var none R
	if err := s.CloseSend(); err != nil && err != errSendEnded {
		return none, err
	}
	answer, err := s.Recv()
	if err == io.EOF {
		return none, malformed(s.call.label, errors.New("there is no message"))
	}
	return answer, err
}

// Headers waits for the metadata that comes before the first answer.
func (s *CallStream[R, S]) Headers() (Metadata, error) {
	defer runtime.KeepAlive(s)
	s.call.wait(func() bool { return s.call.hasHeaders || s.call.over })
	if !s.call.hasHeaders {
		return nil, s.call.failure()
	}
	return s.call.headers, nil
}

// Trailers is the metadata that came after the last answer; nil until Recv has returned an error.
func (s *CallStream[R, S]) Trailers() Metadata {
	select {
	case <-s.call.done:
		return unpack(s.call.last.metadata)
	default:
		return nil
	}
}

// Close ends the call, at the peer too. Harmless when it has ended.
func (s *CallStream[R, S]) Close() {
	runtime.SetFinalizer(s, nil)
	s.call.cancel(Cancelled)
	if s.call.around != nil {
		s.call.around.leave()
	}
}

func (c *streamCall) cancel(code Code) {
	select {
	case <-c.done:
	default:
		callCancel(c.call, code)
	}
}

// request nil: a stream of them, which is still to come.
func openStream[R, S any](
	ctx context.Context, name string, shape int, request any, in, out codec, options []CallOption,
) (*CallStream[R, S], error) {
	var data []byte
	if shape == shapeServerStream {
		var err error
		if data, err = encode(request, false); err != nil {
			return nil, refused("%s: the request cannot be encoded: %v", labelOf(name), err)
		}
	}
	o, err := prepare(ctx, name, shape|shapeReading, options)
	if err != nil {
		return nil, err
	}
	if o.filters != nil {
		return openFiltered[R, S](ctx, o.filters, name, shape, request, in, out, options)
	}
	return startStream[R, S](ctx, o, data, in, out)
}

func startStream[R, S any](
	ctx context.Context, o *outgoingCall, data []byte, in, out codec,
) (*CallStream[R, S], error) {
	if err := o.choose(in, out); err != nil {
		return nil, err
	}
	flags := uint32(flagWantHeaders)
	if data != nil {
		flags |= flagEnd
	}
	p := anyPort()
	c := &streamCall{flow: newFlow(p, 0), ctx: ctx, label: labelOf(o.name), channel: o.channel, done: make(chan struct{})}
	var err error
	if _, c.call, err = o.start(p, c, data, flags); err != nil {
		return nil, err
	}
	if ctx.Done() != nil {
		go func() {
			select {
			case <-ctx.Done():
				c.heed()
			case <-c.done:
			}
		}()
	}
	s := &CallStream[R, S]{
		Stream[R, S]{
			Reader[R]{flow: c.flow, side: c, asJSON: in == codecJSON},
			Writer[S]{flow: c.flow, side: c},
		}, c,
	}
	runtime.SetFinalizer(s, (*CallStream[R, S]).Close)
	return s, nil
}

// CallServerStream calls a method that answers with many messages: Recv them until io.EOF. Arguments as for Call;
// what of them is for the answer's metadata is methods here.
func CallServerStream[Out any](
	ctx context.Context, method string, request any, options ...CallOption,
) (*CallStream[Out, any], error) {
	return openStream[Out, any](ctx, method, shapeServerStream, request, codecOfValue(request), codecOf[Out](), options)
}

// CallClientStream calls a method that answers many messages with one: Send them, then CloseAndRecv.
func CallClientStream[In, Out any](
	ctx context.Context, method string, options ...CallOption,
) (*CallStream[Out, In], error) {
	return openStream[Out, In](ctx, method, shapeClientStream, nil, codecOf[In](), codecOf[Out](), options)
}

// CallBidi calls a method that takes and gives many messages, in any order: Send, Recv, CloseSend.
func CallBidi[In, Out any](ctx context.Context, method string, options ...CallOption) (*CallStream[Out, In], error) {
	return openStream[Out, In](ctx, method, shapeBidi, nil, codecOf[In](), codecOf[Out](), options)
}
