// go/serve.go - the service: its methods, each of which does what its first request says.
package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/protobuf/proto"

	"example.org/nebula"
	pb "example.org/nebula/conformance/conformancepb"
)

type conformance struct {
	server nebula.Server

	lock    sync.Mutex
	self    *nebula.Channel // made by the first relay
	records map[string]*pb.Record
}

func serve(urls []string) error {
	s := &conformance{records: map[string]*pb.Record{}}
	s.server.Addresses, s.server.Announce = urls, []string{service}
	nebula.Unary(&s.server, service+".Unary", s.unary)
	nebula.ClientStream(&s.server, service+".Collect", s.collect)
	nebula.ServerStream(&s.server, service+".Produce", s.produce)
	nebula.Bidi(&s.server, service+".Chat", s.chat)
	nebula.Unary(&s.server, service+".Recall", s.recall)
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer restore()
	if err := s.server.Start(); err != nil {
		return err
	}
	fmt.Println(strings.Join(s.server.URLs(), " "))
	return s.server.Serve(ctx)
}

func (s *conformance) unary(ctx context.Context, ask *pb.Ask) (*pb.Answer, error) {
	d, err := s.begin(ctx, ask)
	defer d.end()
	if err != nil {
		return nil, err
	}
	d.take(ask)
	return d.answer()
}

func (s *conformance) collect(ctx context.Context, asks *nebula.Reader[*pb.Ask]) (*pb.Answer, error) {
	d, err := s.first(ctx, asks)
	defer d.end()
	for ask := d.first; err == nil; ask, err = asks.Recv() {
		d.take(ask)
		if d.first.Early {
			break
		}
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	return d.answer()
}

func (s *conformance) produce(ctx context.Context, ask *pb.Ask, answers *nebula.Writer[*pb.Answer]) error {
	d, err := s.begin(ctx, ask)
	defer d.end()
	d.take(ask)
	for err == nil && d.record.Sent < uint64(ask.Answers) {
		err = d.send(ask, answers)
	}
	if err != nil {
		return err
	}
	return d.failure()
}

func (s *conformance) chat(ctx context.Context, stream *nebula.Stream[*pb.Ask, *pb.Answer]) error {
	d, err := s.first(ctx, &stream.Reader)
	defer d.end()
	for ask := d.first; err == nil; ask, err = stream.Recv() {
		d.take(ask)
		if err := d.send(ask, &stream.Writer); err != nil {
			return err
		}
		if d.first.Early {
			break
		}
	}
	if err != nil && err != io.EOF {
		return err
	}
	return d.failure()
}

// first begins a call by its first request. None at all is one of defaults: then the error is io.EOF.
func (s *conformance) first(ctx context.Context, asks *nebula.Reader[*pb.Ask]) (*deed, error) {
	ask, err := asks.Recv()
	if err != nil {
		d, _ := s.begin(ctx, &pb.Ask{}) // which asks for nothing that could fail
		return d, err
	}
	return s.begin(ctx, ask)
}

func (s *conformance) recall(_ context.Context, key *pb.Key) (*pb.Record, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if record, is := s.records[key.Key]; is {
		return proto.Clone(record).(*pb.Record), nil
	}
	return &pb.Record{State: "unknown"}, nil
}

// channel is one to this very server.
func (s *conformance) channel() (*nebula.Channel, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	var err error
	if s.self == nil {
		s.self, err = nebula.Dial(s.server.URLs()[0], nil)
	}
	return s.self, err
}
