// context_test.go - deadlines, cancellation at every stage, metadata, errors and their outcomes.
package nebula_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/nebula"
)

// waiting serves "wait.forever", which returns when its context ends and tells why, and "wait.stream", the same.
func waiting(t *testing.T) (*nebula.Channel, chan error) {
	var s nebula.Server
	ended := make(chan error, 16)
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	nebula.Unary(&s, "wait.forever", func(ctx context.Context, in int) (int, error) { return 0, wait(ctx) })
	nebula.ServerStream(&s, "wait.stream", func(ctx context.Context, in int, answers *nebula.Writer[int]) error {
		if err := answers.Send(in); err != nil {
			return err
		}
		return wait(ctx)
	})
	return serve(t, &s), ended
}

// bothEnd: at a deadline a handler's context ends by it, or by the caller's word, whichever is first.
func bothEnd(t *testing.T, err error) {
	t.Helper()
	if err != context.DeadlineExceeded && err != context.Canceled {
		t.Fatal(err)
	}
}

func TestADeadlineIsTheHandlersToo(t *testing.T) {
	var s nebula.Server
	nebula.Unary(&s, "time.left", func(ctx context.Context, in int) (bool, error) {
		deadline, has := ctx.Deadline()
		left := time.Until(deadline)
		return has && left > 5*time.Second && left <= 10*time.Second, nil
	})
	ch := nebula.Via(serve(t, &s))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	has, err := nebula.Call[bool](ctx, "time.left", 1, ch)
	ok(t, err)
	expect(t, has, true)
	has, err = nebula.Call[bool](context.Background(), "time.left", 1, ch)
	ok(t, err)
	expect(t, has, false)
}

func TestADeadlineEndsBothSides(t *testing.T) {
	ch, ended := waiting(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := nebula.Call[int](ctx, "wait.forever", 1, nebula.Via(ch))
	expect(t, failure(t, err).Code, nebula.DeadlineExceeded)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) < 50*time.Millisecond {
		t.Fatal(err, time.Since(began))
	}
	bothEnd(t, <-ended)
	_, err = nebula.Call[int](ctx, "wait.forever", 1, nebula.Via(ch)) // it has passed already
	e := failure(t, err)
	expect(t, e.Code, nebula.DeadlineExceeded)
	expect(t, e.Fate, nebula.Unsent)
}

func TestADeadlineEndsAStream(t *testing.T) {
	ch, ended := waiting(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	stream, err := nebula.CallServerStream[int](ctx, "wait.stream", 1, nebula.Via(ch))
	ok(t, err)
	_, err = stream.Recv()
	ok(t, err)
	_, err = stream.Recv()
	expect(t, nebula.CodeOf(err), nebula.DeadlineExceeded)
	bothEnd(t, <-ended)
}

func TestNestedCallsInheritTheDeadlineAndTheCancellation(t *testing.T) {
	ch, ended := waiting(t)
	var s nebula.Server
	left := make(chan time.Duration, 1)
	nebula.Unary(&s, "outer.call", func(ctx context.Context, in int) (int, error) {
		deadline, has := ctx.Deadline()
		if has {
			left <- time.Until(deadline)
		}
		return nebula.Call[int](ctx, "wait.forever", in, nebula.Via(ch))
	})
	outer := nebula.Via(serve(t, &s))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	_, err := nebula.Call[int](ctx, "outer.call", 1, outer)
	cancel()
	expect(t, nebula.CodeOf(err), nebula.DeadlineExceeded)
	if rest := <-left; rest <= 0 || rest > 200*time.Millisecond {
		t.Fatal(rest)
	}
	bothEnd(t, <-ended)

	ctx, cancel = context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = nebula.Call[int](ctx, "outer.call", 1, outer)
	expect(t, nebula.CodeOf(err), nebula.Cancelled)
	expect(t, <-ended, context.Canceled)
}

func TestRetriesDoNotMultiply(t *testing.T) {
	var last, above atomic.Int32
	var inner, outer nebula.Server
	nebula.Unary(&inner, "below.last", func(context.Context, string) (string, error) {
		last.Add(1)
		return "", nebula.Errorf(nebula.Unavailable, "not now")
	})
	below := nebula.Via(serve(t, &inner))
	nebula.Unary(&outer, "tree.above", func(ctx context.Context, how string) (string, error) {
		above.Add(1)
		if how == "detached" {
			ctx = context.Background()
		}
		return nebula.Call[string](ctx, "below.last", how, below, nebula.Idempotent())
	})
	ch := nebula.Via(serve(t, &outer))
	for how, want := range map[string][]any{"here": {int32(3), int32(1), "-1"}, "detached": {int32(9), int32(3), ""}} {
		last.Store(0)
		above.Store(0)
		_, err := nebula.Call[string](soon(t), "tree.above", how, ch, nebula.Idempotent())
		expect(t, nebula.CodeOf(err), nebula.Unavailable)
		expect(t, []any{last.Load(), above.Load(), failure(t, err).Trailers.Get("grpc-retry-pushback-ms")}, want)
	}
}

func TestACallIsCancelledAtEveryStage(t *testing.T) {
	ch, ended := waiting(t)
	cancelled := func(during func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		err := during(ctx)
		if nebula.CodeOf(err) != nebula.Cancelled || !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := nebula.Call[int](gone, "wait.forever", 1, nebula.Via(ch)) // before it begins
	expect(t, failure(t, err).Fate, nebula.Unsent)

	cancelled(func(ctx context.Context) error { // while no instance is there
		_, err := nebula.Call[int](ctx, "nobody.there", 1, nebula.WaitForReady())
		return err
	})
	cancelled(func(ctx context.Context) error { // while the handler runs
		_, err := nebula.Call[int](ctx, "wait.forever", 1, nebula.Via(ch))
		return err
	})
	expect(t, <-ended, context.Canceled)
	cancelled(func(ctx context.Context) error { // while an answer is awaited
		stream, err := nebula.CallServerStream[int](ctx, "wait.stream", 1, nebula.Via(ch))
		ok(t, err)
		_, err = stream.Recv()
		ok(t, err)
		_, err = stream.Recv()
		return err
	})
	expect(t, <-ended, context.Canceled)
	cancelled(func(ctx context.Context) error { // while a send waits for room
		var s nebula.Server
		nebula.ClientStream(&s, "deaf.put", func(ctx context.Context, in *nebula.Reader[[]byte]) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		stream, err := nebula.CallClientStream[[]byte, []byte](ctx, "deaf.put", nebula.Via(serve(t, &s)))
		ok(t, err)
		for {
			if err := stream.Send(make([]byte, 100_000)); err != nil {
				return err
			}
		}
	})
	cancelled(func(ctx context.Context) error { // while the channel is closed
		short := dial(t, ch.String()[len("nebula.Channel "):])
		time.AfterFunc(20*time.Millisecond, short.Close)
		_, err := nebula.Call[int](ctx, "wait.forever", 1, nebula.Via(short))
		return err
	})
	expect(t, <-ended, context.Canceled)
	ch.Close()
	_, err = nebula.Call[int](context.Background(), "wait.forever", 1, nebula.Via(ch))
	expect(t, nebula.CodeOf(err), nebula.Cancelled)
	eventually(t, "no call is left", func() bool { return nebula.OpenCalls() == 0 })
}

func TestACancellationAfterTheEndDoesNothing(t *testing.T) {
	ch := serve(t, numbers())
	for i := 0; i < 100; i++ {
		ctx, cancel := context.WithCancel(context.Background())
		stream, err := nebula.CallClientStream[number, number](ctx, "numbers.Sum", nebula.Via(ch))
		ok(t, err)
		_, err = stream.CloseAndRecv()
		ok(t, err)
		cancel()
		stream.Close()
	}
}

func TestMetadataGoesBothWays(t *testing.T) {
	var s nebula.Server
	nebula.Unary(&s, "meta.echo", func(ctx context.Context, in int) (string, error) {
		call := nebula.IncomingCall(ctx)
		m := call.Metadata()
		ok(t, call.SendHeaders("first", m.Get("first"), "raw-bin", m.Get("raw-bin")))
		ok(t, call.SetTrailers("twice", strings.Join(m.All("twice"), "+")))
		if err := call.SetTrailers("No", "such"); err == nil {
			t.Error("a bad name is taken")
		}
		if in < 0 {
			return "", nebula.Errorf(nebula.Aborted, "as asked")
		}
		return call.Method() + " " + call.Peer(), nil
	})
	ch := nebula.Via(serve(t, &s))
	ctx := nebula.WithMetadata(soon(t), "first", "1", "raw-bin", "\x00\xfe\xff")
	ctx = nebula.WithMetadata(ctx, "twice", "a", "twice", "b")
	var headers, trailers nebula.Metadata
	answer, err := nebula.Call[string](ctx, "meta.echo", 1, ch, nebula.Headers(&headers), nebula.Trailers(&trailers))
	ok(t, err)
	if !strings.HasPrefix(answer, "/meta/echo tcp://127.0.0.1:") {
		t.Fatal(answer)
	}
	expect(t, headers.Get("first"), "1")
	expect(t, headers.Get("raw-bin"), "\x00\xfe\xff")
	expect(t, trailers, nebula.MD("twice", "a+b"))
	expect(t, headers.Get("none"), "")

	_, err = nebula.Call[string](ctx, "meta.echo", -1, ch, nebula.Trailers(&trailers))
	expect(t, failure(t, err).Trailers.Get("twice"), "a+b")
	expect(t, trailers.Get("twice"), "a+b")
	wrong := nebula.MD("Upper", "x", "", "x", "grpc-x", "x", "nebula-retries-left", "1", "a b", "x", "text", "\x01", "text", "ä")
	for _, bad := range wrong {
		_, err := nebula.Call[string](nebula.WithMetadata(soon(t), bad.Name, bad.Value), "meta.echo", 1, ch)
		e := failure(t, err)
		if e.Code != nebula.InvalidArgument || e.Fate != nebula.Unsent || !strings.Contains(e.Message, "metadata") {
			t.Fatal(bad, err)
		}
	}
	if nebula.IncomingCall(context.Background()) != nil {
		t.Fatal("a call where there is none")
	}
}

func TestWhatAHandlerReturnsAsAnError(t *testing.T) {
	var said bytes.Buffer
	s := nebula.Server{ErrorLog: log.New(&said, "", 0)}
	returns := func(name string, err error) {
		nebula.Unary(&s, "fail."+name, func(context.Context, int) (int, error) { return 0, err })
	}
	coded := nebula.Errorf(nebula.NotFound, "no order %d: ☃", 7)
	coded.Trailers = nebula.MD("order", "7")
	returns("coded", coded)
	returns("wrapped", fmt.Errorf("shop: %w", coded))
	returns("plain", io.ErrUnexpectedEOF)
	returns("canceled", context.Canceled)
	returns("late", fmt.Errorf("db: %w", context.DeadlineExceeded))
	returns("long", nebula.Errorf(nebula.Internal, strings.Repeat("é", 5000)))
	returns("nul", nebula.Errorf(nebula.Internal, "a\x00b\xff"))
	returns("okay", nebula.Errorf(nebula.OK, "it is not"))
	returns("unsendable", &nebula.Error{Code: nebula.Aborted, Trailers: nebula.MD("grpc-x", "1")})
	nebula.Unary(&s, "fail.panic", func(context.Context, int) (int, error) { panic("oh no") })
	nebula.Unary(&s, "fail.exit", func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil })
	nebula.Unary(&s, "fail.encode", func(context.Context, int) (any, error) { return func() {}, nil })
	ch := nebula.Via(serve(t, &s))
	for name, want := range map[string]struct {
		code    nebula.Code
		message string
	}{
		"coded":      {nebula.NotFound, "no order 7: ☃"},
		"wrapped":    {nebula.NotFound, "shop: NOT_FOUND: no order 7: ☃"},
		"plain":      {nebula.Unknown, "unexpected EOF"},
		"canceled":   {nebula.Cancelled, "context canceled"},
		"late":       {nebula.DeadlineExceeded, "db: context deadline exceeded"},
		"long":       {nebula.Internal, strings.Repeat("é", 1000)},
		"nul":        {nebula.Internal, "a b\uFFFD"},
		"okay":       {nebula.Unknown, "the handler failed with code OK: it is not"},
		"unsendable": {nebula.Aborted, ""},
		"panic":      {nebula.Unknown, "fail.panic panicked: oh no"},
		"exit":       {nebula.Unknown, "fail.exit ended its goroutine"},
		"encode":     {nebula.Internal, "fail.encode: the result cannot be encoded: json: unsupported type: func()"},
		"none":       {nebula.Unimplemented, ""},
	} {
		_, err := nebula.Call[int](soon(t), "fail."+name, 1, ch)
		e := failure(t, err)
		expect(t, e.Code, want.code)
		if name != "none" {
			expect(t, e.Message, want.message)
			expect(t, e.Fate, nebula.Processed)
		}
		if name == "coded" || name == "wrapped" {
			expect(t, e.Trailers.Get("order"), "7")
			expect(t, e.Fault, nebula.CallerFault)
		}
	}
	if !strings.Contains(said.String(), "oh no") || !strings.Contains(said.String(), "context_test.go") {
		t.Fatal("the panic is not logged with its stack: ", said.String())
	}
}

func TestALostConnectionTellsHowFarTheCallGot(t *testing.T) {
	hello := startSelf(t, "hello", "lost")
	hello.line()
	answer := make(chan error, 1)
	go func() {
		_, err := nebula.Call[string](context.Background(), "lost.wait", 60_000)
		answer <- err
	}()
	time.Sleep(100 * time.Millisecond)
	hello.Process.Kill()
	e := failure(t, <-answer)
	expect(t, e.Code, nebula.Unavailable)
	expect(t, e.Fate, nebula.FateUnknown)
	expect(t, e.Fault, nebula.NetworkFault)
}

func TestCodesAreThoseOfTheHeader(t *testing.T) {
	header, err := os.ReadFile("../../capi/nebula.h")
	ok(t, err)
	for code := nebula.OK; code <= nebula.Unauthenticated; code++ {
		if !regexp.MustCompile(fmt.Sprintf(`NEBULA_%v = %d\b`, code, int(code))).Match(header) {
			t.Error(code, int(code))
		}
	}
	for fate := nebula.Unsent; fate <= nebula.Processed; fate++ {
		name := strings.ToUpper(fate.String())
		if !regexp.MustCompile(fmt.Sprintf(`NEBULA_FATE_%s = %d\b`, name, fate)).Match(header) {
			t.Error(name)
		}
	}
	for fault := nebula.NoFault; fault <= nebula.Overload; fault++ {
		name := strings.ToUpper(fault.String())
		if !regexp.MustCompile(fmt.Sprintf(`NEBULA_FAULT_%s = %d\b`, name, fault)).Match(header) {
			t.Error(name)
		}
	}
	expect(t, nebula.Code(99).String(), "99")
}

func TestReadersHearOfADeadlineNoSoonerThanTheContext(t *testing.T) {
	ctx, receive := nebula.ExpiredCall(50 * time.Millisecond)
	if message := receive(); message != nil {
		t.Fatalf("%q is no message of this call", message)
	}
	if ctx.Err() != context.DeadlineExceeded {
		t.Fatalf("the call is over, and its context says %v", ctx.Err())
	}
}
