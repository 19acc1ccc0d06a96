// call/main.go - calls both by name, in whatever language they are written.
package main

import (
	"context"
	"fmt"
	"time"

	"example.org/hello/clockpb"
	"example.org/nebula"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	greeting, err := nebula.Call[string](ctx, "hello.greet", nebula.M{"name": "Ada"})
	fmt.Printf("%q %v\n", greeting, err)

	now, err := nebula.Call[*clockpb.NowReply](ctx, "demo.v1.Clock.Now", &clockpb.NowRequest{})
	fmt.Printf("%q %v\n", now.GetUtc(), err)
}
