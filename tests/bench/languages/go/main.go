// main.go - Nebula and grpc-go: serves, or loads.
//
// usage: load serve <library> | load load <library> <host:port> <case> <seconds>
//
//	library: nebula, grpc
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.org/nebula"
)

const (
	inFlight     = 64
	streamLength = 2_000
	unaryMethod  = "/bench.Load/Unary"
	countMethod  = "/bench.Load/Count"
)

type (
	value  = *wrapperspb.BytesValue
	number = *wrapperspb.Int64Value
)

var message = wrapperspb.Bytes(make([]byte, 124)) // 128 bytes on the wire

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// ---- servers

func serveNebula() {
	server := nebula.Server{Addresses: []string{"tcp://127.0.0.1:0"}}
	nebula.Unary(&server, unaryMethod, func(ctx context.Context, in value) (value, error) { return in, nil })
	nebula.ServerStream(&server, countMethod, func(ctx context.Context, in number, out *nebula.Writer[number]) error {
		for i := int64(0); i < in.Value; i++ {
			if err := out.Send(wrapperspb.Int64(i)); err != nil {
				return err
			}
		}
		return nil
	})
	check(server.Start())
	fmt.Println(strings.TrimPrefix(server.URLs()[0], "tcp://"))
	io.Copy(io.Discard, os.Stdin)
	server.Close()
}

// What protoc-gen-go-grpc would have made of load.proto.
var description = grpc.ServiceDesc{
	ServiceName: "bench.Load",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Unary",
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.BytesValue)
			return in, decode(in)
		},
	}},
	Streams: []grpc.StreamDesc{{
		StreamName:    "Count",
		ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			in := new(wrapperspb.Int64Value)
			if err := stream.RecvMsg(in); err != nil {
				return err
			}
			for i := int64(0); i < in.Value; i++ {
				if err := stream.SendMsg(wrapperspb.Int64(i)); err != nil {
					return err
				}
			}
			return nil
		},
	}},
}

func serveGrpc() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	server := grpc.NewServer()
	server.RegisterService(&description, nil)
	go server.Serve(listener)
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
	server.Stop()
}

// ---- loads

// A caller makes one call, or reads one stream.
type caller struct{ unary, stream func() }

func nebulaCaller(address string) caller {
	channel, err := nebula.Dial("tcp://"+address, nil)
	check(err)
	ctx, via := context.Background(), nebula.Via(channel)
	return caller{
		unary: func() {
			_, err := nebula.Call[value](ctx, unaryMethod, message, via)
			check(err)
		},
		stream: func() {
			stream, err := nebula.CallServerStream[number](ctx, countMethod, wrapperspb.Int64(streamLength), via)
			for err == nil {
				_, err = stream.Recv()
			}
			if err != io.EOF {
				check(err)
			}
		},
	}
}

func grpcCaller(address string) caller {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	ctx := context.Background()
	return caller{
		unary: func() { check(conn.Invoke(ctx, unaryMethod, message, new(wrapperspb.BytesValue))) },
		stream: func() {
			stream, err := conn.NewStream(ctx, &description.Streams[0], countMethod)
			check(err)
			check(stream.SendMsg(wrapperspb.Int64(streamLength)))
			check(stream.CloseSend())
			for err == nil {
				err = stream.RecvMsg(new(wrapperspb.Int64Value))
			}
			if err != io.EOF {
				check(err)
			}
		},
	}
}

func load(caller caller, name string, seconds float64) {
	workers, call, each := 1, caller.unary, 1
	switch name {
	case "unary64":
		workers = inFlight
	case "stream":
		call, each = caller.stream, streamLength
	}
	length := time.Duration(seconds * float64(time.Second))
	begins := time.Now().Add(length / 3)
	ends := begins.Add(length * 2 / 3)
	var begin sync.Once
	took := make([][]time.Duration, workers)
	var done sync.WaitGroup
	for worker := range took {
		done.Add(1)
		go func() {
			defer done.Done()
			for began := time.Now(); began.Before(ends); {
				call()
				now := time.Now()
				if began.After(begins) {
					took[worker] = append(took[worker], now.Sub(began))
				} else if now.After(begins) {
					begin.Do(func() { fmt.Println("begin") })
				}
				began = now
			}
		}()
	}
	done.Wait()
	var all []time.Duration
	for _, each := range took {
		all = append(all, each...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"count": float64(len(all) * each), "seconds": time.Since(begins).Seconds(),
		"p50_us": float64(all[len(all)/2].Nanoseconds()) / 1e3,
	})
}

func main() {
	words := os.Args[1:]
	role, isNebula := words[0], words[1] == "nebula"
	switch {
	case role == "serve" && isNebula:
		serveNebula()
	case role == "serve":
		serveGrpc()
	default:
		seconds, err := strconv.ParseFloat(words[4], 64)
		check(err)
		caller := map[bool]func(string) caller{true: nebulaCaller, false: grpcCaller}[isNebula](words[2])
		load(caller, words[3], seconds)
	}
}
