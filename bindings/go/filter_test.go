// filter_test.go - filters around calls, on both sides and in all shapes.
package nebula_test

import (
	"context"
	"errors"
	"io"
	"log"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.org/nebula"
)

// greeter says what reached it, and counts its calls.
func greeter(calls *atomic.Int64, filters ...nebula.Filter) *nebula.Server {
	s := &nebula.Server{Filters: filters}
	nebula.Unary(s, "f.greet", func(ctx context.Context, in Person) (string, error) {
		calls.Add(1)
		c := nebula.IncomingCall(ctx)
		c.SendHeaders("early", "1")
		c.SetTrailers("late", c.Metadata().Get("tenant"))
		return "Hello " + in.Name + "!", nil
	})
	nebula.Unary(s, "f.fail", func(ctx context.Context, in Person) (string, error) {
		calls.Add(1)
		return "", &nebula.Error{Code: nebula.NotFound, Message: "no " + in.Name, Trailers: nebula.MD("why", "test")}
	})
	nebula.Unary(s, "f.hang", func(ctx context.Context, in Person) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	return s
}

// waitsOnce adds a method that waits for the end of its call, once, and says when it has begun.
func waitsOnce(s *nebula.Server) chan struct{} {
	began := make(chan struct{})
	nebula.Unary(s, "f.wait", func(ctx context.Context, in Person) (string, error) {
		close(began)
		<-ctx.Done()
		return "", ctx.Err()
	})
	return began
}

func greetVia(t *testing.T, ch *nebula.Channel, filters ...nebula.Filter) (string, error) {
	t.Helper()
	options := []nebula.CallOption{nebula.Via(ch), nebula.WithFilters(filters...)}
	return nebula.Call[string](soon(t), "f.greet", Person{Name: "Ada"}, options...)
}

func TestTheFirstFilterIsTheOutermost(t *testing.T) {
	var calls atomic.Int64
	url := serve(t, greeter(&calls))
	var seen []string
	named := func(name string) nebula.Filter {
		return func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
			seen = append(seen, name+" in")
			err := next(ctx)
			seen = append(seen, name+" out")
			call.Answer = call.Answer.(string) + name
			return err
		}
	}
	greeting, err := greetVia(t, url, named("a"), named("b"))
	ok(t, err)
	expect(t, greeting, "Hello Ada!ba")
	expect(t, strings.Join(seen, ", "), "a in, b in, b out, a out")
}

func TestFiltersOfAChannelAreOutsideOfThoseOfACall(t *testing.T) {
	var calls atomic.Int64
	s := greeter(&calls)
	serve(t, s)
	adding := func(text string) nebula.Filter {
		return func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
			err := next(ctx)
			call.Answer = call.Answer.(string) + text
			return err
		}
	}
	ch, err := nebula.Dial(s.URLs()[0], &nebula.ChannelOptions{Filters: []nebula.Filter{adding("channel")}})
	ok(t, err)
	t.Cleanup(ch.Close)
	greeting, err := greetVia(t, ch, adding("call"))
	ok(t, err)
	expect(t, greeting, "Hello Ada!callchannel")
}

func TestMetadataAndRequestOfAFilterReachTheServer(t *testing.T) {
	var calls atomic.Int64
	ch := serve(t, greeter(&calls))
	var headers, trailers nebula.Metadata
	filter := func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		expect(t, call.Method, "/f/greet")
		expect(t, call.Peer, "")
		expect(t, call.Metadata.Get("own"), "1")
		request, err := call.Request()
		ok(t, err)
		expect(t, request, Person{Name: "Ada"})
		call.Metadata = append(call.Metadata, nebula.MD("tenant", "a")...)
		call.SetRequest(Person{Name: "Eve"})
		err = next(ctx)
		expect(t, call.Headers.Get("early"), "1")
		expect(t, call.Trailers.Get("late"), "a")
		return err
	}
	ctx := nebula.WithMetadata(soon(t), "own", "1")
	greeting, err := nebula.Call[string](ctx, "f.greet", Person{Name: "Ada"}, nebula.Via(ch),
		nebula.WithFilters(filter), nebula.Headers(&headers), nebula.Trailers(&trailers))
	ok(t, err)
	expect(t, greeting, "Hello Eve!")
	expect(t, headers.Get("early")+trailers.Get("late"), "1a")
}

func TestAFilterAnswersWithoutNext(t *testing.T) {
	cached := func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		call.Answer = "cached"
		return nil
	}
	greeting, err := greetVia(t, dial(t, "tcp://127.0.0.1:1"), cached)
	ok(t, err)
	expect(t, greeting, "cached")

	_, err = greetVia(t, dial(t, "tcp://127.0.0.1:1"), func(context.Context, *nebula.FilteredCall, nebula.Next) error {
		return nil
	})
	expect(t, failure(t, err).Code, nebula.Internal)
	seven := func(_ context.Context, call *nebula.FilteredCall, _ nebula.Next) error {
		call.Answer = 7
		return nil
	}
	_, err = greetVia(t, dial(t, "tcp://127.0.0.1:1"), seven)
	if e := failure(t, err); e.Message != "a filter gives a int, where there must be a string" {
		t.Fatal(e)
	}
}

func TestAFilterCallsNextAgainAndWhatIsInsideBeginsAnew(t *testing.T) {
	var calls atomic.Int64
	ch := serve(t, greeter(&calls))
	var sizes []int
	again := func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		err := next(ctx)
		expect(t, failure(t, err).Trailers.Get("why"), "test")
		expect(t, call.Trailers.Get("why"), "test")
		call.SetRequest(Person{Name: "second"})
		return next(ctx)
	}
	adding := func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		sizes = append(sizes, len(call.Metadata))
		call.Metadata = append(call.Metadata, nebula.MD("try", "1")...)
		return next(ctx)
	}
	_, err := nebula.Call[string](soon(t), "f.fail", Person{}, nebula.Via(ch), nebula.WithFilters(again, adding))
	expect(t, failure(t, err).Message, "no second")
	expect(t, sizes, []int{0, 0})
	expect(t, calls.Load(), int64(2))
}

func TestTheErrorOfAFilterIsThatOfTheCall(t *testing.T) {
	ch := serve(t, numbers())
	mine := errors.New("no token")
	refusing := nebula.WithFilters(func(context.Context, *nebula.FilteredCall, nebula.Next) error { return mine })
	_, err := nebula.Call[string](soon(t), "f.greet", Person{}, nebula.Via(ch), refusing)
	expect(t, err, mine)
	_, err = nebula.CallBidi[number, number](soon(t), "numbers.Double", nebula.Via(ch), refusing)
	expect(t, err, mine)

	softening := nebula.WithFilters(func(ctx context.Context, c *nebula.FilteredCall, next nebula.Next) error {
		expect(t, nebula.CodeOf(next(ctx)), nebula.OutOfRange)
		return mine
	})
	stream, err := nebula.CallBidi[number, number](soon(t), "numbers.Double", nebula.Via(ch), softening)
	ok(t, err)
	ok(t, stream.Send(wrapperspb.Int64(-1)))
	_, err = stream.Recv()
	expect(t, err, mine)
}

// counting adds one to what goes there and multiplies by ten what comes back.
func counting(t *testing.T, there, back *atomic.Int64) nebula.Filter {
	return func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		call.OnRequest(func(message any) (any, error) {
			there.Add(1)
			return wrapperspb.Int64(message.(number).Value + 1), nil
		})
		call.OnAnswer(func(message any) (any, error) {
			back.Add(1)
			return wrapperspb.Int64(message.(number).Value * 10), nil
		})
		return next(ctx)
	}
}

func TestMessagesOfAllShapesPassThroughFilters(t *testing.T) {
	var there, back atomic.Int64
	filter := counting(t, &there, &back)
	filtered := numbers()
	filtered.Filters = []nebula.Filter{filter}
	for name, ch := range map[string]*nebula.Channel{"client": serve(t, numbers()), "server": serve(t, filtered)} {
		t.Run(name, func(t *testing.T) {
			options := []nebula.CallOption{nebula.Via(ch)}
			if name == "client" {
				options = append(options, nebula.WithFilters(filter))
			}
			there.Store(0)
			back.Store(0)
			counts, err := nebula.CallServerStream[number](soon(t), "numbers.Count", wrapperspb.Int64(2), options...)
			ok(t, err)
			for _, want := range []int64{0, 10, 20} { // one more than asked for
				got, err := counts.Recv()
				ok(t, err)
				expect(t, got.Value, want)
			}
			_, err = counts.Recv()
			expect(t, err, io.EOF)
			expect(t, []int64{there.Load(), back.Load()}, []int64{1, 3})

			sum, err := nebula.CallClientStream[number, number](soon(t), "numbers.Sum", options...)
			ok(t, err)
			ok(t, sum.Send(wrapperspb.Int64(1)))
			ok(t, sum.Send(wrapperspb.Int64(2)))
			total, err := sum.CloseAndRecv()
			ok(t, err)
			expect(t, total.Value, int64(50))
			expect(t, []int64{there.Load(), back.Load()}, []int64{3, 4})

			double, err := nebula.CallBidi[number, number](soon(t), "numbers.Double", options...)
			ok(t, err)
			ok(t, double.Send(wrapperspb.Int64(1)))
			got, err := double.Recv()
			ok(t, err)
			expect(t, got.Value, int64(40))
			ok(t, double.CloseSend())
			_, err = double.Recv()
			expect(t, err, io.EOF)
			expect(t, []int64{there.Load(), back.Load()}, []int64{4, 5})
		})
	}
}

func TestNextIsOnceForAStreamAndWithoutItAStreamIsEmpty(t *testing.T) {
	ch := serve(t, numbers())
	twice := nebula.WithFilters(func(ctx context.Context, c *nebula.FilteredCall, next nebula.Next) error {
		expect(t, c.IsStream, true)
		if err := next(ctx); err != nil {
			return err
		}
		return next(ctx)
	})
	stream, err := nebula.CallServerStream[number](soon(t), "numbers.Count", wrapperspb.Int64(0), nebula.Via(ch), twice)
	ok(t, err)
	_, err = stream.Recv()
	if e := failure(t, err); !strings.Contains(e.Message, "next is called once") {
		t.Fatal(e)
	}

	none := nebula.WithFilters(func(context.Context, *nebula.FilteredCall, nebula.Next) error { return nil })
	empty, err := nebula.CallBidi[number, number](soon(t), "numbers.Double", nebula.Via(ch), none)
	ok(t, err)
	expect(t, empty.Send(wrapperspb.Int64(1)), io.EOF)
	_, err = empty.Recv()
	expect(t, err, io.EOF)
	empty.Close()
}

func TestDeadlineAndCancellationPassThroughFilters(t *testing.T) {
	var calls atomic.Int64
	s := greeter(&calls)
	began := waitsOnce(s)
	ch := serve(t, s)
	var codes []nebula.Code
	passing := nebula.WithFilters(func(ctx context.Context, c *nebula.FilteredCall, next nebula.Next) error {
		err := next(ctx)
		codes = append(codes, nebula.CodeOf(err))
		return err
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := nebula.Call[string](ctx, "f.hang", Person{}, nebula.Via(ch), passing)
	expect(t, failure(t, err).Code, nebula.DeadlineExceeded)

	shorter := nebula.WithFilters(func(ctx context.Context, c *nebula.FilteredCall, next nebula.Next) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		return next(ctx)
	})
	_, err = nebula.Call[string](soon(t), "f.hang", Person{}, nebula.Via(ch), passing, shorter)
	expect(t, failure(t, err).Code, nebula.DeadlineExceeded)

	ctx, cancel = context.WithCancel(context.Background())
	go func() {
		<-began
		cancel()
	}()
	_, err = nebula.Call[string](ctx, "f.wait", Person{}, nebula.Via(ch), passing)
	expect(t, failure(t, err).Code, nebula.Cancelled)
	expect(t, codes, []nebula.Code{nebula.DeadlineExceeded, nebula.DeadlineExceeded, nebula.Cancelled})
}

func TestAStreamThatIsDroppedOrClosedEndsItsFilters(t *testing.T) {
	ch := serve(t, numbers())
	ended := make(chan error, 1)
	passing := nebula.WithFilters(func(ctx context.Context, c *nebula.FilteredCall, next nebula.Next) error {
		err := next(ctx)
		ended <- err
		return err
	})
	open := func() *nebula.CallStream[number, number] {
		stream, err := nebula.CallBidi[number, number](soon(t), "numbers.Double", nebula.Via(ch), passing)
		ok(t, err)
		return stream
	}
	open().Close()
	expect(t, nebula.CodeOf(<-ended), nebula.Cancelled)
	open()
	var err error
	eventually(t, "it is collected", func() bool {
		runtime.GC()
		select {
		case err = <-ended:
			return true
		default:
			return false
		}
	})
	expect(t, nebula.CodeOf(err), nebula.Cancelled)
}

type user struct{}

func TestAServerFilterRefusesBeforeTheHandlerRuns(t *testing.T) {
	var calls atomic.Int64
	ch := serve(t, greeter(&calls, func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		if call.Metadata.Get("token") != "secret" {
			return nebula.Errorf(nebula.Unauthenticated, "who are you?")
		}
		return next(ctx)
	}))
	malformed := []byte(`{"nme": "Ada"}`) // as bytes, which are not checked before they are sent
	for _, request := range []any{Person{Name: "Ada"}, malformed} {
		_, err := nebula.Call[string](soon(t), "f.greet", request, nebula.Via(ch))
		expect(t, failure(t, err).Code, nebula.Unauthenticated)
	}
	expect(t, calls.Load(), int64(0))
	ctx := nebula.WithMetadata(soon(t), "token", "secret")
	_, err := nebula.Call[string](ctx, "f.greet", Person{Name: "Ada"}, nebula.Via(ch))
	ok(t, err)
	expect(t, calls.Load(), int64(1))
	_, err = nebula.Call[string](ctx, "f.greet", malformed, nebula.Via(ch))
	expect(t, failure(t, err).Code, nebula.InvalidArgument)
}

func TestAServerFilterSeesAndChangesWhatThereIsOfACall(t *testing.T) {
	var calls atomic.Int64
	seen := make(chan string, 1)
	outer := func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		request, err := call.Request()
		if err != nil {
			return err
		}
		call.SetRequest(Person{Name: request.(Person).Name + "+"})
		call.Metadata = nebula.MD("tenant", call.Metadata.Get("tenant")+"+")
		_, hasDeadline := ctx.Deadline()
		err = next(context.WithValue(ctx, user{}, "Ada"))
		seen <- strings.Join([]string{call.Method, call.Peer[:16], call.Trailers.Get("late"), call.Answer.(string)}, " ")
		nebula.IncomingCall(ctx).SetTrailers("late", "changed")
		if !hasDeadline {
			return errors.New("there is no deadline")
		}
		call.Answer = strings.ToUpper(call.Answer.(string))
		return err
	}
	inner := func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		if ctx.Value(user{}) != "Ada" {
			return errors.New("the context does not come through")
		}
		return next(ctx)
	}
	ch := serve(t, greeter(&calls, outer, inner))
	var trailers nebula.Metadata
	ctx := nebula.WithMetadata(soon(t), "tenant", "a")
	greeting, err := nebula.Call[string](ctx, "f.greet", Person{Name: "Ada"}, nebula.Via(ch), nebula.Trailers(&trailers))
	ok(t, err)
	expect(t, greeting, "HELLO ADA+!")
	expect(t, <-seen, "/f/greet tcp://127.0.0.1: a+ Hello Ada+!")
	expect(t, trailers.Get("late"), "changed")
}

func TestAServerFilterAnswersByItselfAndForgives(t *testing.T) {
	var calls atomic.Int64
	ch := serve(t, greeter(&calls, func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		if call.Metadata.Get("cached") != "" {
			call.Answer = "cached"
			return nil
		}
		if err := next(ctx); err != nil {
			call.Answer = "sorry: " + nebula.CodeOf(err).String()
		}
		return nil
	}))
	ctx := nebula.WithMetadata(soon(t), "cached", "1")
	answer, err := nebula.Call[string](ctx, "f.greet", Person{}, nebula.Via(ch))
	ok(t, err)
	expect(t, answer, "cached")
	expect(t, calls.Load(), int64(0))
	answer, err = nebula.Call[string](soon(t), "f.fail", Person{}, nebula.Via(ch))
	ok(t, err)
	expect(t, answer, "sorry: NOT_FOUND")
}

func TestAServerFilterThatPanicsIsUnknownAndOneHearsOfACallerWhoLeaves(t *testing.T) {
	var calls atomic.Int64
	left := make(chan error, 1)
	s := greeter(&calls, func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		if call.Method == "/f/greet" {
			panic("a mistake")
		}
		err := next(ctx)
		left <- ctx.Err()
		return err
	})
	s.ErrorLog = log.New(io.Discard, "", 0)
	began := waitsOnce(s)
	ch := serve(t, s)
	_, err := greetVia(t, ch)
	if e := failure(t, err); e.Code != nebula.Unknown || e.Message != "f.greet panicked: a mistake" {
		t.Fatal(e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-began
		cancel()
	}()
	nebula.Call[string](ctx, "f.wait", Person{}, nebula.Via(ch))
	expect(t, <-left, context.Canceled)
}

func TestUseIsForCallsThatNameNoChannel(t *testing.T) {
	startSelf(t, "hello", "used").line()
	ok(t, nebula.Use(func(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
		err := next(ctx)
		if call.Method == "/used/greet" {
			call.Answer = call.Answer.(string) + "?"
		}
		return err
	}))
	greeting, err := nebula.Call[string](soon(t), "used.greet", Person{Name: "Ada"})
	ok(t, err)
	expect(t, greeting, "Hello Ada!?")
}
