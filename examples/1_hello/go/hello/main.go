// hello/main.go - a service whose methods are Go functions: what they take and return travels as JSON.
package main

import (
	"context"
	"log"

	"example.org/nebula"
)

type Person struct {
	Name string `json:"name"`
}

func greet(ctx context.Context, in Person) (string, error) {
	return "Hello " + in.Name + "!", nil
}

func main() {
	var server nebula.Server
	nebula.Unary(&server, "hello.greet", greet)
	if err := server.Run(); err != nil {
		log.Fatal(err)
	}
}
