// peers/serve.go - the service on grpc-go, which ends as its documentation says: GracefulStop.
package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type service struct {
	name   string
	ledger *os.File
	delay  atomic.Int64  // ms
	fail   atomic.Uint64 // a share, as the bits of a float64
}

func (s *service) work(key string) (*wrapperspb.StringValue, error) {
	if _, err := fmt.Fprintf(s.ledger, "%s %d\n", key, time.Now().UnixMicro()); err != nil {
		panic(err)
	}
	if delay := s.delay.Load(); delay > 0 {
		time.Sleep(time.Duration(delay) * time.Millisecond)
	}
	if rand.Float64() < math.Float64frombits(s.fail.Load()) {
		return nil, status.Error(codes.Unavailable, "told to fail")
	}
	return wrapperspb.String(s.name + " " + key), nil
}

func (s *service) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var what string
		var value float64
		fmt.Sscan(lines.Text(), &what, &value)
		switch what {
		case "delay":
			s.delay.Store(int64(value))
		case "fail":
			s.fail.Store(math.Float64bits(value))
		}
	}
}

func serve(name, ledger, address string) error {
	file, err := os.OpenFile(ledger, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", strings.TrimPrefix(address, "tcp://"))
	if err != nil {
		return err
	}
	s := &service{name: name, ledger: file}
	server := grpc.NewServer()
	work := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var key wrapperspb.StringValue
		if err := decode(&key); err != nil {
			return nil, err
		}
		return s.work(key.Value)
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "faults", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "work", Handler: work}},
	}, s)
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer restore()
	go s.obey()
	ended := make(chan struct{})
	go func() {
		<-ctx.Done()
		server.GracefulStop()
		close(ended)
	}()
	fmt.Println("ready")
	if err := server.Serve(listener); err != nil {
		return err
	}
	<-ended
	return nil
}
