// go/main.go - the service and the load of the campaign in Go: tests/faults/README.md.
//
// usage: faults_go serve <name> <ledger> <address>    until SIGTERM; "delay <ms>" and "fail <share>" on standard input
//
//	faults_go load <name> <log> <calls a second> <streams> <timeout in ms>    until the end of standard input
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// A long stream.
const (
	tailCount = 25
	tailPause = 200 * time.Millisecond
)

func main() {
	var err error
	switch {
	case len(os.Args) == 5 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 7 && os.Args[1] == "load":
		err = load(os.Args[2], os.Args[3], number(4), number(5), time.Duration(number(6))*time.Millisecond)
	default:
		err = fmt.Errorf("usage: faults_go serve <name> <ledger> <address> | load <name> <log> <rate> <streams> <timeout>")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults_go:", err)
		os.Exit(1)
	}
}

func number(index int) int {
	n, err := strconv.Atoi(os.Args[index])
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults_go:", err)
		os.Exit(2)
	}
	return n
}
