// go/deed.go - one call as it is handled: what its first request asks for, step by step.
package main

import (
	"context"
	"strings"
	"time"

	"example.org/nebula"
	pb "example.org/nebula/conformance/conformancepb"
)

type deed struct {
	ctx     context.Context
	service *conformance
	first   *pb.Ask // says what is to be done
	record  *pb.Record
	bytes   uint64 // of the payloads that came
	relayed *pb.Answer
}

// begin remembers the call, and sends what goes before the answers.
func (s *conformance) begin(ctx context.Context, first *pb.Ask) (*deed, error) {
	d := &deed{ctx: ctx, service: s, first: first, record: &pb.Record{State: "running"}}
	if first.Key != "" {
		s.lock.Lock()
		s.records[first.Key] = d.record
		s.lock.Unlock()
	}
	call := nebula.IncomingCall(ctx)
	if len(first.Trailers) > 0 {
		if err := call.SetTrailers(flat(first.Trailers)...); err != nil {
			return d, err
		}
	}
	if len(first.Headers) > 0 {
		return d, call.SendHeaders(flat(first.Headers)...)
	}
	return d, nil
}

func (d *deed) note(change func(*pb.Record)) {
	d.service.lock.Lock()
	defer d.service.lock.Unlock()
	change(d.record)
}

// end notes how the handler ended; its panics come by here, too.
func (d *deed) end() {
	d.note(func(r *pb.Record) {
		r.State = "finished"
		if d.ctx.Err() != nil {
			r.State = "cancelled"
		}
	})
}

func (d *deed) take(ask *pb.Ask) {
	d.bytes += uint64(len(ask.Payload))
	d.note(func(r *pb.Record) { r.Received++ })
}

// answer is the only one.
func (d *deed) answer() (*pb.Answer, error) {
	answer, err := d.next(d.first)
	if err == nil {
		err = d.failure()
	}
	if err != nil {
		return nil, err
	}
	d.note(func(r *pb.Record) { r.Sent++ })
	return answer, nil
}

// send sends one of many.
func (d *deed) send(ask *pb.Ask, answers *nebula.Writer[*pb.Answer]) error {
	answer, err := d.next(ask)
	if err == nil {
		err = answers.Send(answer)
	}
	if err == nil {
		d.note(func(r *pb.Record) { r.Sent++ })
	}
	return err
}

// next waits, relays, and makes the answer to one request.
func (d *deed) next(ask *pb.Ask) (*pb.Answer, error) {
	if err := d.wait(); err != nil {
		return nil, err
	}
	if err := d.relay(); err != nil {
		return nil, err
	}
	answer := &pb.Answer{
		Payload: ask.Payload, Text: ask.Text, Number: ask.Number, LeftMs: -1, Received: d.record.Received,
		ReceivedBytes: d.bytes, Index: d.record.Sent, Relayed: d.relayed,
	}
	if d.first.AnswerSize > 0 {
		answer.Payload = make([]byte, d.first.AnswerSize)
	}
	if deadline, has := d.ctx.Deadline(); has {
		answer.LeftMs = time.Until(deadline).Milliseconds()
	}
	for _, pair := range nebula.IncomingCall(d.ctx).Metadata() {
		if strings.HasPrefix(pair.Name, "x-") {
			answer.Metadata = append(answer.Metadata, pairOf(pair))
		}
	}
	return answer, nil
}

func (d *deed) wait() error {
	if d.first.DelayMs == 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(d.first.DelayMs) * time.Millisecond)
	defer timer.Stop() // it would be kept until then
	select {
	case <-timer.C:
		return nil
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}

// relay calls this server once, whatever the number of answers.
func (d *deed) relay() error {
	if d.first.Relay == nil || d.relayed != nil {
		return nil
	}
	ctx := d.ctx
	if d.first.Detached {
		ctx = context.Background()
	}
	if timeout := d.first.RelayTimeoutMs; timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout)*time.Millisecond)
		defer cancel()
	}
	self, err := d.service.channel()
	if err == nil {
		d.relayed, err = nebula.Call[*pb.Answer](ctx, service+".Unary", d.first.Relay, nebula.Via(self))
	}
	return err
}

func (d *deed) failure() error {
	if d.first.Throw {
		panic(d.first.Message)
	}
	if d.first.Status != 0 {
		return nebula.Errorf(nebula.Code(d.first.Status), "%s", d.first.Message)
	}
	return nil
}

// flat is how the binding has metadata of one's own.
func flat(pairs []*pb.Pair) []string {
	var namesAndValues []string
	for _, pair := range pairs {
		value := pair.Text
		if strings.HasSuffix(pair.Name, "-bin") {
			value = string(pair.Data)
		}
		namesAndValues = append(namesAndValues, pair.Name, value)
	}
	return namesAndValues
}

func pairOf(pair nebula.Pair) *pb.Pair {
	if strings.HasSuffix(pair.Name, "-bin") {
		return &pb.Pair{Name: pair.Name, Data: []byte(pair.Value)}
	}
	return &pb.Pair{Name: pair.Name, Text: pair.Value}
}
