// peers/main.go - what go/ does with Nebula, with grpc-go in its place: tests/faults/README.md.
//
// usage: faults_grpc serve <name> <ledger> <address>    until SIGTERM; "delay <ms>" and "fail <share>" on standard input
//
//	faults_grpc load <name> <log> <calls a second> <streams: 0> <timeout in ms>    until the end of standard input
//
// The client finds its servers by the DNS name in FAULTS_TARGET.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 5 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 7 && os.Args[1] == "load":
		err = load(os.Args[2], os.Args[3], number(4), time.Duration(number(6))*time.Millisecond)
	default:
		err = fmt.Errorf("usage: faults_grpc serve <name> <ledger> <address> | load <name> <log> <rate> 0 <timeout>")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults_grpc:", err)
		os.Exit(1)
	}
}

func number(index int) int {
	n, err := strconv.Atoi(os.Args[index])
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults_grpc:", err)
		os.Exit(2)
	}
	return n
}
