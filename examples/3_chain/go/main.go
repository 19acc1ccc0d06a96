// 3_chain/go/main.go - a link of the chain in Go: says what reached it, after the next link has.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"example.org/nebula"
)

func ask(ctx context.Context, _ struct{}) ([]string, error) {
	deadline, _ := ctx.Deadline()
	left, trace := time.Until(deadline), nebula.IncomingCall(ctx).Metadata().Get("trace")
	rest, err := nebula.Call[[]string](nebula.WithMetadata(ctx, "trace", trace), os.Args[1]+".ask", nebula.M{})
	return append([]string{fmt.Sprintf("go      %.3f s left  trace %s", left.Seconds(), trace)}, rest...), err
}

func main() {
	var server nebula.Server
	nebula.Unary(&server, "chain-go.ask", ask)
	log.Println("ended:", server.Run())
}
