// load_test.go - many at once, and what is left behind.
package nebula_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.org/nebula"
)

func TestTenThousandCallsInFlight(t *testing.T) {
	s := nebula.Server{MaxStreams: 20_000}
	const count = 10_000
	var arrived sync.WaitGroup
	arrived.Add(count)
	open := make(chan bool)
	nebula.Unary(&s, "crowd.wait", func(ctx context.Context, in int) (int, error) {
		arrived.Done()
		<-open
		return in, nil
	})
	ch := nebula.Via(serve(t, &s))
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var answered sync.WaitGroup
	answered.Add(count)
	for i := 0; i < count; i++ {
		go func(i int) {
			defer answered.Done()
			if answer, err := nebula.Call[int](ctx, "crowd.wait", i, ch); err != nil || answer != i {
				t.Error(answer, err)
			}
		}(i)
	}
	arrived.Wait() // all of them are in their handlers
	close(open)
	answered.Wait()
	expect(t, nebula.OpenCalls(), 0)
	eventually(t, "the server forgets them", func() bool { return nebula.HandledCalls(&s) == 0 })
}

func TestManyCallsLeaveNothingBehind(t *testing.T) {
	s := numbers()
	nebula.Unary(s, "hello.greet", greet)
	ch := nebula.Via(serve(t, s))
	round := func(calls int) {
		var done sync.WaitGroup
		for worker := 0; worker < 50; worker++ {
			done.Add(1)
			go func(worker int) {
				defer done.Done()
				for i := 0; i < calls; i++ {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					switch n := (worker + i) % 16; {
					case n > 8:
						if _, err := nebula.Call[string](ctx, "hello.greet", Person{Name: "x"}, ch); err != nil {
							t.Error(err)
						}
					case n > 0:
						stream, err := nebula.CallServerStream[number](ctx, "numbers.Count", wrapperspb.Int64(3), ch)
						for err == nil {
							_, err = stream.Recv()
						}
						if err != io.EOF {
							t.Error(err)
						}
					default: // dropped in the middle; a server bears a thousand at once, and 33 a second
						if stream, err := nebula.CallBidi[number, number](ctx, "numbers.Double", ch); err != nil {
							t.Error(err)
						} else if err := stream.Send(wrapperspb.Int64(1)); err != nil {
							t.Error(err)
						}
					}
					cancel()
				}
			}(worker)
		}
		done.Wait()
	}
	round(20)
	before := runtime.NumGoroutine() + 256 // that wait for the next call
	round(200)                             // 10,000
	eventually(t, "all calls are over", func() bool {
		runtime.GC()
		return nebula.OpenCalls() == 0 && nebula.HandledCalls(s) == 0 && runtime.NumGoroutine() <= before
	})
}

// Handles go while their calls run; none may take another's with it, and no call that is waited for may be cut off.
func TestTheCollectorRacesWithCalls(t *testing.T) {
	s := numbers()
	nebula.Unary(s, "hello.greet", greet)
	serve(t, s)
	url, ctx := s.URLs()[0], context.Background()
	stop := make(chan bool)
	var rounds atomic.Int64
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
				rounds.Add(1)
			}
		}
	}()
	var done sync.WaitGroup
	for worker := 0; worker < 8; worker++ {
		done.Add(1)
		go func() {
			defer done.Done()
			for i := 0; i < 50 || rounds.Load() < 20; i++ {
				// The channel is referred to by nothing but the call.
				ch, err := nebula.Dial(url, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					if _, err := nebula.Call[string](ctx, "hello.greet", Person{}, nebula.Via(ch)); err != nil {
						t.Error(err)
					}
					continue
				}
				twenty := wrapperspb.Int64(20)
				stream, err := nebula.CallServerStream[number](ctx, "numbers.Count", twenty, nebula.Via(ch))
				ch = nil
				count := 0
				for ; err == nil; count++ {
					_, err = stream.Recv()
				}
				if err != io.EOF || count != 21 {
					t.Error(count, err)
				}
			}
		}()
	}
	done.Wait()
	close(stop)
	eventually(t, "all calls are over", func() bool { return nebula.OpenCalls() == 0 })
}

func TestCloseCutsOffAndDrainLetsCallsEnd(t *testing.T) {
	var s nebula.Server
	entered, leave := make(chan bool, 2), make(chan bool)
	nebula.Unary(&s, "slow.call", func(ctx context.Context, in int) (int, error) {
		entered <- true
		select {
		case <-leave:
			return in, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	ch := nebula.Via(serve(t, &s))
	answer := make(chan error, 1)
	call := func() {
		_, err := nebula.Call[int](context.Background(), "slow.call", 1, ch)
		answer <- err
	}
	go call()
	<-entered
	drained := make(chan error, 1)
	go func() { drained <- s.Drain() }()
	time.Sleep(50 * time.Millisecond)
	leave <- true
	ok(t, <-answer)
	ok(t, <-drained)
	s.Close()
	s.Close()
	expect(t, len(s.URLs()), 0)

	cut := nebula.Server{}
	nebula.Unary(&cut, "slow.call", func(ctx context.Context, in int) (int, error) {
		entered <- true
		<-ctx.Done()
		leave <- true
		return 0, ctx.Err()
	})
	ch = nebula.Via(serve(t, &cut))
	go call()
	<-entered
	cut.Close()
	<-leave // its context has ended
	expect(t, nebula.CodeOf(<-answer), nebula.Unavailable)
}

func TestCloseEndsADrain(t *testing.T) {
	var s nebula.Server
	if err := s.Drain(); err == nil {
		t.Fatal("a server that has not started can be drained")
	}
	entered := make(chan bool)
	nebula.Unary(&s, "slow.call", func(ctx context.Context, in int) (int, error) {
		close(entered)
		<-ctx.Done()
		return 0, ctx.Err()
	})
	ctx, ch := soon(t), nebula.Via(serve(t, &s))
	answer, drained := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := nebula.Call[int](ctx, "slow.call", 1, ch)
		answer <- err
	}()
	<-entered
	go func() { drained <- s.Drain() }()
	time.Sleep(50 * time.Millisecond) // it waits for the call
	s.Close()
	select {
	case err := <-drained:
		ok(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("the drain goes on")
	}
	expect(t, nebula.CodeOf(<-answer), nebula.Unavailable)
	if err := s.Drain(); err == nil {
		t.Fatal("a server that is closed can be drained")
	}
}

// A program whose main returns while it serves, and while calls of its own and of others are in their handlers.
func init() {
	programs["abandons"] = func([]string) error {
		var s nebula.Server
		entered := make(chan bool)
		wait := func(ctx context.Context) error {
			entered <- true
			<-ctx.Done()
			return ctx.Err()
		}
		nebula.Unary(&s, "abandons.wait", func(ctx context.Context, in int) (int, error) { return 0, wait(ctx) })
		nebula.Bidi(&s, "abandons.chat", func(ctx context.Context, chat *nebula.Stream[int, int]) error { return wait(ctx) })
		if err := s.Start(); err != nil {
			return err
		}
		ctx := context.Background()
		go nebula.Call[int](ctx, "abandons.wait", 1)
		stream, err := nebula.CallBidi[int, int](ctx, "abandons.chat")
		if err != nil {
			return err
		}
		<-entered
		<-entered
		fmt.Println("serving")
		<-entered // somebody else's
		runtime.KeepAlive(stream)
		return nil
	}
}

func TestAProgramMayEndWithAllOpen(t *testing.T) {
	program := startSelf(t, "abandons")
	expect(t, program.line(), "serving")
	_, err := nebula.Call[int](soon(t), "abandons.wait", 1)
	lost := failure(t, err)
	expect(t, lost.Code, nebula.Unavailable)
	expect(t, lost.Fault, nebula.NetworkFault)
	ok(t, program.Wait())
	expect(t, program.errors.String(), "")
}

func TestServeEndsWithItsContext(t *testing.T) {
	s := nebula.Server{Addresses: []string{"tcp://127.0.0.1:0"}}
	nebula.Unary(&s, "hello.greet", greet)
	ok(t, s.Start())
	ok(t, s.SetHealth("hello", false))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	_, err := nebula.Call[string](soon(t), "hello.greet", Person{}, nebula.Via(dial(t, s.URLs()[0])))
	ok(t, err)
	cancel()
	ok(t, <-served)
	if err := s.SetHealth("hello", true); err == nil {
		t.Fatal("a server that has ended has no health")
	}
}
