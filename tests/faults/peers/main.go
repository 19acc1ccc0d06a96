// peers/main.go - what go/ does with Nebula, with another framework in its place: tests/faults/README.md.
//
// usage: faults_peers grpc|rpcx serve <name> <ledger> <address>    until SIGTERM; "delay <ms>" and "fail <share>" on
// standard input
//
//	faults_peers grpc|rpcx load <name> <log> <calls a second> <streams: 0> <timeout in ms>    until the end of it
//
// The client finds its servers by the DNS name in FAULTS_TARGET.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// A framework: how it serves and ends, and how it calls.
type framework struct {
	// Until the context is done, and what runs has ended.
	serve func(ctx context.Context, s *service, listener net.Listener) error
	dial  func(target string) (call, error)
}

// The answer, and gRPC's code; others have 2 (UNKNOWN) for whatever it is.
type call func(ctx context.Context, key string) (answer string, code int)

var frameworks = map[string]framework{"grpc": {serveGRPC, dialGRPC}, "rpcx": {serveRPCX, dialRPCX}}

func main() {
	err := fmt.Errorf("usage: faults_peers grpc|rpcx serve <name> <ledger> <address> | load <name> <log> <rate> 0 <timeout>")
	if len(os.Args) >= 3 {
		with, isKnown := frameworks[os.Args[1]]
		switch rest := os.Args[3:]; {
		case !isKnown:
		case os.Args[2] == "serve" && len(rest) == 3:
			err = serve(with, rest[0], rest[1], rest[2])
		case os.Args[2] == "load" && len(rest) == 5:
			err = load(with, rest[0], rest[1], number(rest[2]), time.Duration(number(rest[4]))*time.Millisecond)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults_peers:", err)
		os.Exit(1)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults_peers:", err)
		os.Exit(2)
	}
	return n
}
