// stream_test.go - the three shapes with streams: messages, ends, backpressure.
package nebula_test

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.org/nebula"
)

type number = *wrapperspb.Int64Value

// numbers has a method of each shape, of protobuf messages.
func numbers() *nebula.Server {
	s := &nebula.Server{}
	nebula.ServerStream(s, "numbers.Count", func(ctx context.Context, n number, answers *nebula.Writer[number]) error {
		for i := int64(0); i < n.Value; i++ {
			if err := answers.Send(wrapperspb.Int64(i)); err != nil {
				return err
			}
		}
		return nil
	})
	nebula.ClientStream(s, "numbers.Sum", func(ctx context.Context, in *nebula.Reader[number]) (number, error) {
		sum := int64(0)
		for {
			n, err := in.Recv()
			if err == io.EOF {
				return wrapperspb.Int64(sum), nil
			}
			if err != nil {
				return nil, err
			}
			sum += n.Value
		}
	})
	nebula.Bidi(s, "numbers.Double", func(ctx context.Context, stream *nebula.Stream[number, number]) error {
		for {
			n, err := stream.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if n.Value < 0 {
				return nebula.Errorf(nebula.OutOfRange, "%d is negative", n.Value)
			}
			if err := stream.Send(wrapperspb.Int64(2 * n.Value)); err != nil {
				return err
			}
		}
	})
	return s
}

func TestAStreamOfAnswersEndsWithEOF(t *testing.T) {
	ch := nebula.Via(serve(t, numbers()))
	for _, count := range []int64{0, 1, 10_000} {
		stream, err := nebula.CallServerStream[number](soon(t), "numbers.Count", wrapperspb.Int64(count), ch)
		ok(t, err)
		for i := int64(0); i < count; i++ {
			n, err := stream.Recv()
			ok(t, err)
			expect(t, n.Value, i)
		}
		for i := 0; i < 2; i++ {
			_, err = stream.Recv()
			expect(t, err, io.EOF)
		}
	}
}

func TestAStreamOfRequestsHasOneAnswer(t *testing.T) {
	ch := nebula.Via(serve(t, numbers()))
	for _, count := range []int64{0, 1, 10_000} {
		stream, err := nebula.CallClientStream[number, number](soon(t), "numbers.Sum", ch)
		ok(t, err)
		for i := int64(0); i < count; i++ {
			ok(t, stream.Send(wrapperspb.Int64(i)))
		}
		sum, err := stream.CloseAndRecv()
		ok(t, err)
		expect(t, sum.Value, count*(count-1)/2)
		expect(t, stream.Send(wrapperspb.Int64(1)), io.EOF)
	}
}

func TestAConversation(t *testing.T) {
	ch := nebula.Via(serve(t, numbers()))
	stream, err := nebula.CallBidi[number, number](soon(t), "numbers.Double", ch)
	ok(t, err)
	for i := int64(0); i < 100; i++ {
		ok(t, stream.Send(wrapperspb.Int64(i)))
		n, err := stream.Recv()
		ok(t, err)
		expect(t, n.Value, 2*i)
	}
	ok(t, stream.CloseSend())
	if err := stream.Send(wrapperspb.Int64(1)); err == nil {
		t.Fatal("sent after CloseSend")
	}
	_, err = stream.Recv()
	expect(t, err, io.EOF)
}

func TestMessagesBeforeAnErrorAreReceivedAndSendTellsItToo(t *testing.T) {
	ch := nebula.Via(serve(t, numbers()))
	stream, err := nebula.CallBidi[number, number](soon(t), "numbers.Double", ch)
	ok(t, err)
	for _, n := range []int64{1, 2, -3} {
		ok(t, stream.Send(wrapperspb.Int64(n)))
	}
	for _, want := range []int64{2, 4} {
		n, err := stream.Recv()
		ok(t, err)
		expect(t, n.Value, want)
	}
	_, err = stream.Recv()
	e := failure(t, err)
	expect(t, e.Code, nebula.OutOfRange)
	expect(t, e.Message, "-3 is negative")
	expect(t, e.Fate, nebula.Processed)
	expect(t, failure(t, stream.Send(wrapperspb.Int64(1))).Code, nebula.OutOfRange)
}

// A handler that sends some and then waits for what the client makes of them: none of them may lie about.
func TestNoMessageWaitsForAnotherOne(t *testing.T) {
	read := make(chan bool)
	var s nebula.Server
	nebula.Bidi(&s, "burst.get", func(ctx context.Context, stream *nebula.Stream[number, number]) error {
		for {
			n, err := stream.Recv()
			if err != nil {
				return nil
			}
			for i := int64(0); i < n.Value; i++ {
				if err := stream.Send(wrapperspb.Int64(i)); err != nil {
					return err
				}
			}
			<-read
		}
	})
	stream, err := nebula.CallBidi[number, number](soon(t), "burst.get", nebula.Via(serve(t, &s)))
	ok(t, err)
	for burst := int64(1); burst < 1000; burst += 9 {
		ok(t, stream.Send(wrapperspb.Int64(burst)))
		for i := int64(0); i < burst; i++ {
			n, err := stream.Recv()
			ok(t, err)
			expect(t, n.Value, i)
		}
		read <- true
	}
	ok(t, stream.CloseSend())
}

func TestStreamsOfJSONNameTheMessageAtFault(t *testing.T) {
	var s nebula.Server
	nebula.Bidi(&s, "room.chat", func(ctx context.Context, stream *nebula.Stream[Person, string]) error {
		for {
			p, err := stream.Recv()
			if err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.Send("Hello " + p.Name); err != nil {
				return err
			}
		}
	})
	ch := nebula.Via(serve(t, &s))
	stream, err := nebula.CallBidi[any, string](soon(t), "room.chat", ch)
	ok(t, err)
	ok(t, stream.Send(Person{Name: "Ada"}))
	text, err := stream.Recv()
	ok(t, err)
	expect(t, text, "Hello Ada")
	ok(t, stream.Send(nebula.M{"nme": "Bob"}))
	_, err = stream.Recv()
	e := failure(t, err)
	expect(t, e.Code, nebula.InvalidArgument)
	expect(t, e.Message, `room.chat has no field "nme" (fields: name, age); did you mean "name"?`)
}

func TestAStreamingMethodCalledAsUnarySaysHow(t *testing.T) {
	ch := nebula.Via(serve(t, numbers()))
	_, err := nebula.Call[number](soon(t), "numbers.Count", wrapperspb.Int64(3), ch)
	e := failure(t, err)
	expect(t, e.Code, nebula.Unimplemented)
	if !strings.Contains(e.Message, "nebula.CallServerStream") {
		t.Fatal(e.Message)
	}
}

func TestHeadersAndTrailersOfAStream(t *testing.T) {
	var s nebula.Server
	nebula.ServerStream(&s, "a.b", func(ctx context.Context, n int, answers *nebula.Writer[int]) error {
		call := nebula.IncomingCall(ctx)
		if err := call.SendHeaders("kind", "early", "raw-bin", "\x00\xff"); err != nil {
			return err
		}
		if err := call.SendHeaders("kind", "twice"); err == nil {
			return nebula.Errorf(nebula.Internal, "headers were sent twice")
		}
		if err := answers.Send(n); err != nil {
			return err
		}
		return call.SetTrailers("kind", "late")
	})
	stream, err := nebula.CallServerStream[int](soon(t), "a.b", 7, nebula.Via(serve(t, &s)))
	ok(t, err)
	headers, err := stream.Headers()
	ok(t, err)
	expect(t, headers.Get("kind"), "early")
	expect(t, headers.Get("raw-bin"), "\x00\xff")
	n, err := stream.Recv()
	ok(t, err)
	expect(t, n, 7)
	_, err = stream.Recv()
	expect(t, err, io.EOF)
	expect(t, stream.Trailers().Get("kind"), "late")
}

// settled waits until a counter has stood still for a while, and gives it.
func settled(counter *atomic.Int64) int64 {
	for last, since := counter.Load(), time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if now := counter.Load(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > 300*time.Millisecond {
			return last
		}
	}
}

func TestASlowReaderStopsTheServer(t *testing.T) {
	var s nebula.Server
	var sent atomic.Int64
	const count, size = 2000, 10_000
	nebula.ServerStream(&s, "flood.get", func(ctx context.Context, in []byte, answers *nebula.Writer[[]byte]) error {
		for i := 0; i < count; i++ {
			if err := answers.Send(make([]byte, size)); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	})
	stream, err := nebula.CallServerStream[[]byte](soon(t), "flood.get", []byte{}, nebula.Via(serve(t, &s)))
	ok(t, err)
	if stopped := settled(&sent); stopped == 0 || stopped > count/4 {
		t.Fatal("sent to a reader that does not read:", stopped)
	}
	for i := 0; i < count; i++ {
		data, err := stream.Recv()
		ok(t, err)
		expect(t, len(data), size)
	}
	_, err = stream.Recv()
	expect(t, err, io.EOF)
	expect(t, sent.Load(), int64(count))
}

func TestASlowHandlerStopsTheCaller(t *testing.T) {
	var s nebula.Server
	read := make(chan bool)
	const count, size = 2000, 10_000
	nebula.ClientStream(&s, "flood.put", func(ctx context.Context, in *nebula.Reader[[]byte]) ([]byte, error) {
		<-read
		total := 0
		for {
			data, err := in.Recv()
			if err == io.EOF {
				return make([]byte, total/size), nil
			} else if err != nil {
				return nil, err
			}
			total += len(data)
		}
	})
	stream, err := nebula.CallClientStream[[]byte, []byte](soon(t), "flood.put", nebula.Via(serve(t, &s)))
	ok(t, err)
	var sent atomic.Int64
	done := make(chan error, 1)
	go func() {
		for i := 0; i < count; i++ {
			if err := stream.Send(make([]byte, size)); err != nil {
				done <- err
				return
			}
			sent.Add(1)
		}
		done <- nil
	}()
	if stopped := settled(&sent); stopped == 0 || stopped > count/4 {
		t.Fatal("sent to a handler that does not read:", stopped)
	}
	close(read)
	ok(t, <-done)
	answer, err := stream.CloseAndRecv()
	ok(t, err)
	expect(t, len(answer), count)
}

func TestAStreamThatNobodyUsesAnyMoreIsCancelled(t *testing.T) {
	var s nebula.Server
	ended := make(chan error, 1)
	nebula.ServerStream(&s, "endless.get", func(ctx context.Context, in int, answers *nebula.Writer[int]) error {
		for i := 0; ; i++ {
			if err := answers.Send(i); err != nil {
				ended <- err
				return err
			}
		}
	})
	ch := serve(t, &s)
	func() {
		stream, err := nebula.CallServerStream[int](context.Background(), "endless.get", 0, nebula.Via(ch))
		ok(t, err)
		_, err = stream.Recv()
		ok(t, err)
	}()
	for end := time.Now().Add(patience); ; {
		runtime.GC()
		select {
		case err := <-ended:
			expect(t, nebula.CodeOf(err), nebula.Cancelled)
			return
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("it goes on")
		}
	}
}

func TestCloseEndsAStreamAtBothSides(t *testing.T) {
	var s nebula.Server
	ended := make(chan error, 1)
	nebula.Bidi(&s, "talk.open", func(ctx context.Context, stream *nebula.Stream[int, int]) error {
		_, err := stream.Recv()
		<-ctx.Done()
		ended <- ctx.Err()
		return err
	})
	stream, err := nebula.CallBidi[int, int](context.Background(), "talk.open", nebula.Via(serve(t, &s)))
	ok(t, err)
	received := make(chan error, 1)
	go func() {
		_, err := stream.Recv()
		received <- err
	}()
	ok(t, stream.Send(1)) // it has begun
	time.Sleep(20 * time.Millisecond)
	stream.Close()
	expect(t, nebula.CodeOf(<-received), nebula.Cancelled)
	expect(t, <-ended, context.Canceled)
	stream.Close()
}

func TestAHandlerWhoseStreamMissesItsDeadlineFindsItsContextEnded(t *testing.T) {
	var s nebula.Server
	ended := make(chan error, 50)
	nebula.Bidi(&s, "late.chat", func(ctx context.Context, chat *nebula.Stream[int, int]) error {
		_, err := chat.Recv()
		ended <- ctx.Err()
		return err
	})
	ch := nebula.Via(serve(t, &s))
	for i := 0; i < 50; i++ {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		stream, err := nebula.CallBidi[int, int](ctx, "late.chat", ch)
		ok(t, err)
		_, err = stream.Recv()
		expect(t, nebula.CodeOf(err), nebula.DeadlineExceeded)
		cancel()
	}
	eventually(t, "all handlers have ended", func() bool { return nebula.HandledCalls(&s) == 0 })
	if len(ended) == 0 {
		t.Fatal("no call came to its handler in time")
	}
	for len(ended) > 0 {
		if <-ended == nil { // whether the deadline has come first, or the caller's end
			t.Fatal("the stream has failed, and the context goes on")
		}
	}
}

func TestNoMessageFollowsTheEndOfAContext(t *testing.T) {
	ch := nebula.Via(serve(t, numbers()))
	for i := 0; i < 200; i++ {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		stream, err := nebula.CallBidi[number, number](ctx, "numbers.Double", ch)
		ok(t, err)
		ok(t, stream.Send(wrapperspb.Int64(1)))
		_, err = stream.Recv()
		ok(t, err)
		cancel()
		if err = stream.Send(wrapperspb.Int64(2)); err == nil {
			_, err = stream.Recv()
		}
		expect(t, nebula.CodeOf(err), nebula.Cancelled)
	}
}
