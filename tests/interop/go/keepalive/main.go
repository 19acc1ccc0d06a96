// keepalive/main.go - one call from a grpc-go client that pings: keepalive time 10 s, timeout 1 s.
//
// usage: keepalive host:port /service/method        prints the answer, or the error and returns 1
//
// The messages are JSON, so that no generated code is needed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
)

type codec struct{}

func (codec) Name() string                       { return "json" }
func (codec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (codec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

func call(target, method string) (any, error) {
	encoding.RegisterCodec(codec{})
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second}))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var answer any
	err = conn.Invoke(ctx, method, map[string]any{}, &answer, grpc.CallContentSubtype("json"))
	return answer, err
}

func main() {
	answer, err := call(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(answer)
}
