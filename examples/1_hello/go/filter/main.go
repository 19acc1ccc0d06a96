// filter/main.go - a filter on each side: a service that refuses strangers, and a caller who says who it is.
package main

import (
	"context"
	"fmt"
	"log"

	"example.org/nebula"
)

func refusing(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
	if call.Metadata.Get("token") != "secret" {
		return nebula.Errorf(nebula.Unauthenticated, "who are you?")
	}
	return next(ctx)
}

func introducing(ctx context.Context, call *nebula.FilteredCall, next nebula.Next) error {
	call.Metadata = append(call.Metadata, nebula.MD("token", "secret")...)
	return next(ctx)
}

func greet(ctx context.Context, name string) (string, error) { return "Hello " + name + "!", nil }

func main() {
	server := nebula.Server{Filters: []nebula.Filter{refusing}}
	nebula.Unary(&server, "guarded.greet", greet)
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	_, err := nebula.Call[string](context.Background(), "guarded.greet", "Ada")
	fmt.Println(err)
	greeting, err := nebula.Call[string](context.Background(), "guarded.greet", "Ada", nebula.WithFilters(introducing))
	fmt.Println(greeting, err)
}
