// main.go - bench.Echo on the Go libraries: grpc-go, connect-go, and rpcx on its own protocol.
//
// usage: go_peer serve grpc|connect|rpcx [certificate key]          prints its address; until it is killed
//
//	go_peer load grpc|rpcx <address> <payload bytes> <connections> <in flight on each> <seconds>
//
// The message is google.protobuf.BytesValue everywhere. `load` prints one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/protocol"
	"github.com/smallnest/rpcx/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type value = wrapperspb.BytesValue

func echo(in *value) *value { return &value{Value: slices.Clone(in.Value)} }

func must[T any](result T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return result
}

// ---- servers

type echoer interface{ echoer() }
type grpcEcho struct{}

func (grpcEcho) echoer() {}

var description = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*echoer)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(value)
		if err := decode(in); err != nil {
			return nil, err
		}
		return echo(in), nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		for {
			in := new(value)
			if err := stream.RecvMsg(in); err != nil {
				return nil
			}
			if err := stream.SendMsg(echo(in)); err != nil {
				return err
			}
		}
	}}},
}

func serveGRPC(listener net.Listener, files []string) error {
	// What its documentation recommends for many small calls: workers in place of a goroutine for each.
	options := []grpc.ServerOption{grpc.NumStreamWorkers(4)}
	if len(files) == 2 {
		options = append(options, grpc.Creds(must(credentials.NewServerTLSFromFile(files[0], files[1]))))
	}
	s := grpc.NewServer(options...)
	s.RegisterService(&description, grpcEcho{})
	return s.Serve(listener)
}

func serveConnect(listener net.Listener, files []string) error {
	mux := http.NewServeMux()
	mux.Handle("/bench.Echo/Unary", connect.NewUnaryHandler("/bench.Echo/Unary",
		func(_ context.Context, in *connect.Request[value]) (*connect.Response[value], error) {
			return connect.NewResponse(echo(in.Msg)), nil
		}))
	s := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1000}
	if len(files) == 2 {
		s.Protocols.SetHTTP2(true)
		return s.ServeTLS(listener, files[0], files[1])
	}
	s.Protocols.SetUnencryptedHTTP2(true)
	return s.Serve(listener)
}

type RPCX struct{}

func (RPCX) Unary(_ context.Context, in *value, out *value) error {
	out.Value = slices.Clone(in.Value)
	return nil
}

func serveRPCX(listener net.Listener) error {
	s := server.NewServer()
	if err := s.RegisterName("Echo", RPCX{}, ""); err != nil {
		return err
	}
	return s.ServeListener("tcp", listener)
}

func serve(kind string, files []string) error {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	fmt.Println(listener.Addr())
	switch kind {
	case "grpc":
		return serveGRPC(listener, files)
	case "connect":
		return serveConnect(listener, files)
	case "rpcx":
		return serveRPCX(listener)
	}
	return fmt.Errorf("no peer %q", kind)
}

// ---- clients

type call func(in *value) (*value, error)

func dial(kind, address string) call {
	if kind == "grpc" {
		connection := must(grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials())))
		return func(in *value) (*value, error) {
			out := new(value)
			return out, connection.Invoke(context.Background(), "/bench.Echo/Unary", in, out)
		}
	}
	option := client.DefaultOption
	option.SerializeType = protocol.ProtoBuffer
	connection := client.NewClient(option)
	if err := connection.Connect("tcp", address); err != nil {
		log.Fatal(err)
	}
	return func(in *value) (*value, error) {
		out := new(value)
		return out, connection.Call(context.Background(), "Echo", "Unary", in, out)
	}
}

func load(kind, address string, size, connections, inFlight int, seconds float64) {
	payload := make([]byte, size)
	warm := time.Now().Add(time.Duration(seconds * 0.1 * 1e9))
	end := warm.Add(time.Duration(seconds * 1e9))
	var all []float64
	var lock sync.Mutex
	var done sync.WaitGroup
	for range connections {
		call := dial(kind, address)
		for range inFlight {
			done.Go(func() {
				var mine []float64
				for began := time.Now(); began.Before(end); {
					out, err := call(&value{Value: payload})
					if err != nil || len(out.Value) != size {
						log.Fatal("a wrong answer: ", err)
					}
					now := time.Now()
					if began.After(warm) {
						mine = append(mine, float64(now.Sub(began).Nanoseconds())/1000)
					}
					began = now
				}
				lock.Lock()
				all = append(all, mine...)
				lock.Unlock()
			})
		}
	}
	done.Wait()
	took := time.Since(warm).Seconds()
	slices.Sort(all)
	json.NewEncoder(os.Stdout).Encode(map[string]float64{"count": float64(len(all)), "seconds": took, "p50_us": all[len(all)/2], "p99_us": all[len(all)*99/100]})
}

func main() {
	words := os.Args
	number := func(at int) int { return must(strconv.Atoi(words[at])) }
	switch {
	case len(words) >= 3 && words[1] == "serve":
		log.Fatal(serve(words[2], words[3:]))
	case len(words) == 8 && words[1] == "load":
		load(words[2], words[3], number(4), number(5), number(6), must(strconv.ParseFloat(words[7], 64)))
	default:
		log.Fatal("usage: see the head of main.go")
	}
}
