// clock/main.go - a service of clock.proto, with the messages that protoc-gen-go makes of it.
package main

import (
	"context"
	"log"
	"time"

	"example.org/hello/clockpb"
	"example.org/nebula"
)

func now(ctx context.Context, _ *clockpb.NowRequest) (*clockpb.NowReply, error) {
	t := time.Now().UTC()
	return &clockpb.NowReply{Utc: t.Format("2006-01-02T15:04:05.000Z"), UnixNanos: t.UnixNano()}, nil
}

func main() {
	var server nebula.Server
	nebula.Unary(&server, "demo.v1.Clock.Now", now)
	if err := server.Run(); err != nil {
		log.Fatal(err)
	}
}
