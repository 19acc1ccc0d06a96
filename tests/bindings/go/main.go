// go/main.go - the conformance program of Go: tests/bindings/README.md says what it does.
//
//go:generate protoc -I .. --go_out=conformancepb --go_opt=paths=source_relative conformance.proto
package main

import (
	"fmt"
	"os"
)

const service = "nebula.test.v1.Conformance"

func main() {
	err := fmt.Errorf("usage: conformance serve <url>... | call <target>")
	switch {
	case len(os.Args) > 2 && os.Args[1] == "serve":
		err = serve(os.Args[2:])
	case len(os.Args) == 3 && os.Args[1] == "call":
		err = call(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
