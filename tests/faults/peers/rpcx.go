// peers/rpcx.go - rpcx on its own protocol, with what its client has by default; it ends by Shutdown.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/log"
	"github.com/smallnest/rpcx/protocol"
	"github.com/smallnest/rpcx/server"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// As long as answers of the DNS server hold, which is as soon as anybody could know.
const lookUpEvery = time.Second

func init() { log.SetDummyLogger() }

func serveRPCX(ctx context.Context, s *service, listener net.Listener) error {
	server := server.NewServer()
	work := func(_ context.Context, key, answer *wrapperspb.StringValue) (err error) {
		answer.Value, err = s.work(key.Value)
		return err
	}
	if err := server.RegisterFunctionName("faults", "work", work, ""); err != nil {
		return err
	}
	ended := make(chan error)
	go func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended <- server.Shutdown(deadline)
	}()
	fmt.Println("ready")
	if err := serveUntilShutdown(server, listener); err != nil {
		return err
	}
	return <-ended
}

func serveUntilShutdown(s *server.Server, listener net.Listener) error {
	err := s.ServeListener("tcp", listener)
	if errors.Is(err, server.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Three retries on other nodes are the default of its options; a breaker is not. It counts attempts to connect alone, and
// with NewConsecCircuitBreaker(5, 30s) a third of the calls of a rolling restart failed. `target` is grpc-go's: dns://<server>/<name>:<port>.
func dialRPCX(target string) (call, error) {
	at, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	name, text, _ := strings.Cut(strings.TrimPrefix(at.Path, "/"), ":")
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(at.Hostname(), "53"))
	}}
	servers, err := client.NewDNSDiscovery(name+".", "tcp", port, lookUpEvery)
	if err != nil {
		return nil, err
	}
	option := client.DefaultOption
	option.SerializeType = protocol.ProtoBuffer
	channel := client.NewXClient("faults", client.Failover, client.RoundRobin, servers, option)
	return func(ctx context.Context, key string) (string, int) {
		var answer wrapperspb.StringValue
		if err := channel.Call(ctx, "work", wrapperspb.String(key), &answer); err != nil {
			return "", codeOf(err)
		}
		return answer.Value, 0
	}, nil
}

func codeOf(err error) int {
	if errors.Is(err, context.DeadlineExceeded) {
		return 4
	}
	return 2
}
