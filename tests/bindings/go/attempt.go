// go/attempt.go - one call of a case, with the messages of one codec.
package main

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"example.org/nebula"
	pb "example.org/nebula/conformance/conformancepb"
)

type attempt[In, Out any] struct {
	*testCase
	result
	parse func([]byte) (In, error)
	show  func(Out) any

	cancel context.CancelFunc
	isOver bool // no answer is to be read any more
}

// How long a call may run on before it is asked for no more, and how often it is.
const (
	recallMax   = 5 * time.Second
	recallPause = 5 * time.Millisecond
)

// What the streams of every shape have for their readers.
type answers[Out any] interface {
	Recv() (Out, error)
	Headers() (nebula.Metadata, error)
	Trailers() nebula.Metadata
	Close()
}

func (a *attempt[In, Out]) run(channel *nebula.Channel) *result {
	ctx := nebula.WithMetadata(context.Background(), namesAndValues(a.Metadata)...)
	if a.TimeoutMs > 0 {
		var release context.CancelFunc
		ctx, release = context.WithTimeout(ctx, time.Duration(a.TimeoutMs)*time.Millisecond)
		defer release()
	}
	ctx, a.cancel = context.WithCancel(ctx)
	defer a.cancel()
	if wait, is := number(a.Cancel, "ms:"); is {
		defer time.AfterFunc(time.Duration(wait)*time.Millisecond, a.cancel).Stop()
	}
	path := a.Method
	if !strings.HasPrefix(path, "/") {
		path = "/" + service + "/" + a.Method
	}
	began := time.Now()
	switch a.Method {
	case "Collect":
		stream, err := nebula.CallClientStream[In, Out](ctx, path, a.options(channel)...)
		if a.begun(err) {
			a.sendAll(stream)
			a.readAll(stream)
		}
	case "Produce":
		stream, err := nebula.CallServerStream[Out](ctx, path, a.only(), a.options(channel)...)
		if a.begun(err) {
			a.readAll(stream)
		}
	case "Chat":
		stream, err := nebula.CallBidi[In, Out](ctx, path, a.options(channel)...)
		if a.begun(err) {
			a.sendAll(stream)
			a.readAll(stream)
			a.sendLate(stream)
		}
	default:
		if a.Cancel == "start" {
			go a.cancel()
		}
		options := append(a.options(channel), nebula.Headers(&a.headers), nebula.Trailers(&a.trailers))
		answer, err := nebula.Call[Out](ctx, path, a.only(), options...)
		if a.err = err; err == nil {
			a.add(a.show(answer))
		}
	}
	a.took = time.Since(began)
	return &a.result
}

func (a *attempt[In, Out]) options(channel *nebula.Channel) []nebula.CallOption {
	options := []nebula.CallOption{nebula.Via(channel)}
	if a.WaitForReady {
		options = append(options, nebula.WaitForReady())
	}
	if a.Idempotent {
		options = append(options, nebula.Idempotent())
	}
	switch a.Compression {
	case "gzip":
		options = append(options, nebula.Compress(nebula.Gzip))
	case "zstd":
		options = append(options, nebula.Compress(nebula.Zstd))
	}
	return options
}

// begun: a stream is there.
func (a *attempt[In, Out]) begun(err error) bool {
	if a.Cancel == "start" {
		a.cancel()
	}
	a.err = err
	return err == nil
}

// only is the single request.
func (a *attempt[In, Out]) only() (only In) {
	a.each(func(ask In) bool {
		only = ask
		return false
	})
	return only
}

// each gives the requests in their order, until it is told to stop.
func (a *attempt[In, Out]) each(take func(ask In) bool) {
	for _, text := range a.Asks {
		var fields map[string]json.RawMessage
		times := 1
		must(json.Unmarshal(text, &fields))
		if count, has := fields["times"]; has {
			must(json.Unmarshal(count, &times))
			delete(fields, "times")
			var err error
			text, err = json.Marshal(fields)
			must(err)
		}
		ask, err := a.parse(text)
		must(err)
		for ; times > 0; times-- {
			if !take(ask) {
				return
			}
		}
	}
}

func (a *attempt[In, Out]) sendAll(stream *nebula.CallStream[Out, In]) {
	isOver := false
	a.each(func(ask In) bool {
		if isOver = stream.Send(ask) != nil; isOver { // reading says how the call ended
			return false
		}
		a.sent++
		return !a.Pingpong || a.read(stream)
	})
	if !a.KeepOpen && !isOver {
		must(stream.CloseSend())
	}
}

func (a *attempt[In, Out]) readAll(stream answers[Out]) {
	for a.read(stream) {
	}
	if a.isDropped {
		return
	}
	a.headers, _ = stream.Headers() // whose error is that of the call
	a.trailers = stream.Trailers()
	if a.Cancel == "end" {
		a.cancel()
	}
}

// read takes one answer, and does what is to be done then. false: there are no more.
func (a *attempt[In, Out]) read(stream answers[Out]) bool {
	if a.isOver {
		return false
	}
	answer, err := stream.Recv()
	if err != nil {
		a.isOver = true
		if err != io.EOF {
			a.err = err
		}
		return false
	}
	a.add(a.show(answer))
	if a.count == a.Read {
		time.Sleep(time.Duration(a.PauseMs) * time.Millisecond)
	}
	if count, is := number(a.Cancel, "answers:"); is && a.count == count {
		a.cancel()
	}
	if count, is := number(a.Drop, "answers:"); is && a.count == count {
		a.isOver, a.isDropped = true, true
		stream.Close()
	}
	return !a.isOver
}

// sendLate sends one more message than there is anybody for.
func (a *attempt[In, Out]) sendLate(stream *nebula.CallStream[Out, In]) {
	if a.SendAfterEnd {
		a.late = "ignored"
		if stream.Send(a.only()) != nil {
			a.late = "error"
		}
	}
}

// recall asks what has become of a call, until that is known.
func recall(channel *nebula.Channel, key string) any {
	ctx, cancel := context.WithTimeout(context.Background(), recallMax)
	defer cancel()
	for {
		record, err := nebula.Call[*pb.Record](ctx, service+".Recall", &pb.Key{Key: key}, nebula.Via(channel))
		must(err)
		if deadline, _ := ctx.Deadline(); record.State != "running" || time.Until(deadline) < recallMax/10 {
			text, err := protojson.Marshal(record)
			must(err)
			return json.RawMessage(text)
		}
		time.Sleep(recallPause)
	}
}

// number is that of "ms:50" after "ms:".
func number(text, prefix string) (int, bool) {
	if !strings.HasPrefix(text, prefix) {
		return 0, false
	}
	n, err := strconv.Atoi(text[len(prefix):])
	must(err)
	return n, true
}

// must: what goes wrong here is the program's fault, or the case's.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
