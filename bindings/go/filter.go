// filter.go - filters: functions around calls, the same for clients and servers, for one message and for streams.
package nebula

import (
	"context"
	"sync"
)

// A Filter is around calls: it gets the call and next, which runs what is inside of it (the other filters, then the
// call itself) to the end. The error that it returns is that of the call.
//
//	func logged(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
//		err := next(ctx)
//		log.Println(call.Method, err)
//		return err
//	}
//
// Not to call next is to answer without it: with an error, or with call.Answer, and a stream of answers is empty then.
// Calls that are not streams may call next again. Filters of a server run in the handler's goroutine; those of a client
// in that of Call, and for a stream in one of their own, as next lasts as long as the stream.
type Filter func(ctx context.Context, call *FilteredCall, next Next) error

// Next runs what is inside of a filter, to the end of the call. It gets the filter's context, or one derived from it.
type Next func(ctx context.Context) error

// A Change gets a message and returns the one that goes on in its place, of the same type. Its error ends the call.
type Change func(message any) (any, error)

// FilteredCall is a call as one filter sees it. What it changes is seen by the filters inside of it, and by the call
// itself; what those change does not come back, but for Answer, Headers and Trailers. The deadline is the context's.
type FilteredCall struct {
	Method   string   // the path of the method: "/hello/greet"
	Metadata Metadata // what goes to the server beside the request, or has come from the client
	Peer     string   // on a server who calls, as Incoming.Peer; "" on a client
	IsStream bool     // there are many messages, in either direction: next is called once

	Answer   any      // the single answer, after next; nil: there is none. A filter may set it.
	Headers  Metadata // what came before the answer, on a client and after next
	Trailers Metadata // what came after the answer or with the error; on a server what Incoming.SetTrailers has set

	outer             *FilteredCall
	request           any
	read              func() (any, error) // gives the request when it is first asked for
	requests, answers []Change
	passed            *bool // by all filters, at least once
}

// Request is the single request, as the caller gave it or the handler is to get it; nil of a stream of requests. On a
// server the error is that of a request that is malformed, for the caller.
func (c *FilteredCall) Request() (any, error) {
	if c.read != nil {
		request, err := c.read()
		if err != nil {
			return nil, err
		}
		c.request, c.read = request, nil
	}
	return c.request, nil
}

// SetRequest puts another message of the same type in its place.
func (c *FilteredCall) SetRequest(message any) { c.request, c.read = message, nil }

// OnRequest has change called for each request that passes, also for a single one. To be said before next.
func (c *FilteredCall) OnRequest(change Change) { c.requests = append(c.requests, change) }

// OnAnswer is the same for each answer.
func (c *FilteredCall) OnAnswer(change Change) { c.answers = append(c.answers, change) }

// runFilters runs them around last.
func runFilters(
	ctx context.Context, filters []Filter, c *FilteredCall, last func(context.Context, *FilteredCall) error,
) error {
	if len(filters) == 0 {
		*c.passed = true
		return last(ctx, c)
	}
	isCalled := false
	return filters[0](ctx, c, func(ctx context.Context) error {
		if isCalled && c.IsStream {
			return refused("%s: next is called once for a stream", labelOf(c.Method))
		}
		isCalled = true
		inner := &FilteredCall{
			Method: c.Method, Metadata: c.Metadata[:len(c.Metadata):len(c.Metadata)], Peer: c.Peer, IsStream: c.IsStream,
			outer: c, read: c.changedRequest, passed: c.passed,
		}
		err := runFilters(ctx, filters[1:], inner, last)
		c.Answer, c.Headers, c.Trailers = inner.Answer, inner.Headers, inner.Trailers
		if err == nil && c.Answer != nil {
			c.Answer, err = through(c.answers, c.Answer)
		}
		return err
	})
}

func (c *FilteredCall) changedRequest() (any, error) {
	request, err := c.Request()
	if err != nil || request == nil {
		return nil, err
	}
	return through(c.requests, request)
}

func through(changes []Change, message any) (any, error) {
	for _, change := range changes {
		var err error
		if message, err = change(message); err != nil {
			return nil, err
		}
	}
	return message, nil
}

// changeRequest is what each message of a stream of requests goes through: the outermost filter comes first.
func (c *FilteredCall) changeRequest(message any) (any, error) {
	if c.outer != nil {
		var err error
		if message, err = c.outer.changeRequest(message); err != nil {
			return nil, err
		}
	}
	return through(c.requests, message)
}

// changeAnswer is the same of answers: the innermost filter comes first.
func (c *FilteredCall) changeAnswer(message any) (any, error) {
	message, err := through(c.answers, message)
	if err == nil && c.outer != nil {
		return c.outer.changeAnswer(message)
	}
	return message, err
}

// typed is a message that filters have had in hand.
func typed[T any](message any) (T, error) {
	value, ok := message.(T)
	if !ok && message != nil {
		return value, Errorf(Internal, "a filter gives a %T, where there must be a %T", message, value)
	}
	return value, nil
}

// changed is that message as the filters leave it; change nil: there are none.
func changed[T any](change Change, message T) (T, error) {
	if change == nil {
		return message, nil
	}
	other, err := change(message)
	if err != nil {
		return message, err
	}
	return typed[T](other)
}

// ---- the caller's side --------------------------------------------------------------------------------------------

// WithFilters puts filters around a call, inside of those of its channel. The first is the outermost.
func WithFilters(filters ...Filter) CallOption {
	return func(o *outgoingCall) { o.filters = append(o.filters, filters...) }
}

// Use puts filters around all calls that name no channel, inside of those that there are. It is for the beginning of a
// program, before such calls. The error is that of Dial.
func Use(filters ...Filter) error {
	channel, err := commonChannel()
	if err == nil {
		channel.filters = append(channel.filters, filters...)
	}
	return err
}

func outgoingMetadata(ctx context.Context) Metadata {
	m, _ := ctx.Value(outgoing{}).(Metadata)
	return m[:len(m):len(m)]
}

// callFiltered is Call with filters.
func callFiltered[Out any](
	ctx context.Context, filters []Filter, method string, request any, options []CallOption,
) (Out, error) {
	var none Out
	path, err := pathOf(method)
	if err != nil {
		return none, refused("%v", err)
	}
	var headers, trailers *Metadata
	passed := false
	call := &FilteredCall{Method: path, Metadata: outgoingMetadata(ctx), request: request, passed: &passed}
	err = runFilters(ctx, filters, call, func(ctx context.Context, inner *FilteredCall) error {
		message, err := inner.Request()
		if err != nil {
			return err
		}
		o, err := prepare(context.WithValue(ctx, outgoing{}, inner.Metadata), method, shapeUnary, options)
		if err != nil {
			return err
		}
		headers, trailers = o.headers, o.trailers
		o.headers, o.trailers, o.flags = &inner.Headers, &inner.Trailers, o.flags|flagWantHeaders
		answer, err := callOnce[Out](ctx, o, message)
		if err == nil {
			inner.Answer = answer
		}
		return err
	})
	if headers != nil {
		*headers = call.Headers
	}
	if trailers != nil {
		*trailers = call.Trailers
	}
	if err != nil {
		return none, err
	}
	if call.Answer == nil && !passed {
		return none, Errorf(Internal, "%s: a filter has ended the call without an answer", labelOf(path))
	}
	return typed[Out](call.Answer)
}

// around is the filters of a stream, which run in a goroutine of their own while its user has it in hand.
type around struct {
	opens  chan *streamOpening
	taken  chan struct{} // its user takes no more
	take   sync.Once
	result error
	ended  chan struct{} // closed when there is a result
}

// streamOpening is what the filters have let through, and then what became of it.
type streamOpening struct {
	ctx    context.Context
	call   *FilteredCall
	stream *streamCall
	err    error
	done   chan struct{}
}

func beginAround(ctx context.Context, filters []Filter, call *FilteredCall) *around {
	a := &around{opens: make(chan *streamOpening), taken: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		a.result = runFilters(ctx, filters, call, a.last)
	}()
	return a
}

// last waits for the end of the stream: until its user has taken all, or until it fails.
func (a *around) last(ctx context.Context, call *FilteredCall) error {
	opening := &streamOpening{ctx: ctx, call: call, done: make(chan struct{})}
	a.opens <- opening
	<-opening.done
	c := opening.stream
	if c == nil {
		return opening.err
	}
	select {
	case <-a.taken:
	case <-c.done:
		if c.last.status == 0 {
			<-a.taken
		}
	}
	<-c.done // one that is not read to the end has been cancelled
	c.lock.Lock()
	call.Headers = c.headers
	c.lock.Unlock()
	call.Trailers = unpack(c.last.metadata)
	return failureOf(&c.last)
}

// end lets the filters end; their result.
func (a *around) end() error {
	a.leave()
	<-a.ended
	return a.result
}

func (a *around) leave() { a.take.Do(func() { close(a.taken) }) }

// openFiltered is openStream with filters.
func openFiltered[R, S any](
	ctx context.Context, filters []Filter, name string, shape int, request any, in, out codec, options []CallOption,
) (*CallStream[R, S], error) {
	path, err := pathOf(name)
	if err != nil {
		return nil, refused("%v", err)
	}
	passed := false
	call := &FilteredCall{
		Method: path, Metadata: outgoingMetadata(ctx), IsStream: true, request: request, passed: &passed,
	}
	a := beginAround(ctx, filters, call)
	select {
	case opening := <-a.opens:
		s, err := openLetThrough[R, S](opening, name, shape, in, out, options)
		if err == nil {
			opening.stream, s.call.around = s.call, a
		}
		opening.err = err
		close(opening.done)
		if err == nil {
			return s, nil
		}
		if err = a.end(); err != nil {
			return nil, err
		}
	case <-a.ended:
		if a.result != nil {
			return nil, a.result
		}
	}
	return endedStream[R, S](labelOf(path)), nil
}

func openLetThrough[R, S any](
	opening *streamOpening, name string, shape int, in, out codec, options []CallOption,
) (*CallStream[R, S], error) {
	request, err := opening.call.Request()
	if err != nil {
		return nil, err
	}
	var data []byte
	if request != nil {
		if data, err = encode(request, false); err != nil {
			return nil, refused("%s: the request cannot be encoded: %v", labelOf(name), err)
		}
	}
	ctx := context.WithValue(opening.ctx, outgoing{}, opening.call.Metadata)
	o, err := prepare(ctx, name, shape|shapeReading, options)
	if err != nil {
		return nil, err
	}
	s, err := startStream[R, S](ctx, o, data, in, out)
	if err == nil {
		s.Reader.change, s.Writer.change = opening.call.changeAnswer, opening.call.changeRequest
	}
	return s, err
}

// endedStream is one that no filter has let through: it has no answers.
func endedStream[R, S any](label string) *CallStream[R, S] {
	c := &streamCall{flow: newFlow(nil, 0), ctx: context.Background(), label: label, done: make(chan struct{})}
	c.end()
	close(c.done)
	return &CallStream[R, S]{Stream[R, S]{Reader[R]{flow: c.flow, side: c}, Writer[S]{flow: c.flow, side: c}}, c}
}

// ---- the callee's side --------------------------------------------------------------------------------------------

// serveFiltered runs the filters of the server around a handler, and answers.
func (h *handler) serveFiltered(ctx context.Context, c *Incoming, data []byte) error {
	passed := false
	call := &FilteredCall{
		Method: h.path, Metadata: c.Metadata(), Peer: c.Peer(), IsStream: h.shape&^shapeReading != shapeUnary, passed: &passed,
	}
	if h.shape&shapeReading == 0 {
		call.read = func() (any, error) {
			request, err := h.decode(data, c.asJSON)
			if err != nil {
				return nil, h.badRequest(err)
			}
			return request, nil
		}
	}
	err := runFilters(ctx, h.server.Filters, call, func(ctx context.Context, inner *FilteredCall) error {
		c.filtered = inner
		err := h.serve(ctx, c, data)
		c.lock.Lock()
		inner.Trailers = unpack(c.trailers)
		c.lock.Unlock()
		return err
	})
	if err != nil {
		return err
	}
	if h.shape&shapeServerStream != 0 { // also of Bidi
		c.answer(nil)
		return nil
	}
	if call.Answer == nil && !passed {
		return Errorf(Internal, "%s: a filter has ended the call without an answer", h.label)
	}
	return c.send(call.Answer)
}
