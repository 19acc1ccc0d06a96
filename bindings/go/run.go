// run.go - a program that is a service: banner, signals, and an orderly end.
package nebula

import (
	"context"
	"fmt"
	"os/signal"
	"sort"
	"strings"
	"syscall"
)

// Run serves until SIGINT or SIGTERM. Then it withdraws, lets running calls end, and returns nil; a second signal
// ends the process at once. It prints one line per service when all can be called.
func (s *Server) Run() error {
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	if err := s.Start(); err != nil {
		return err
	}
	urls := s.URLs()
	sort.Strings(urls) // "tcp:" before "unix:"
	seen := map[string]bool{}
	for _, h := range s.methods {
		name, _, _ := strings.Cut(h.path[1:], "/")
		if !seen[name] {
			seen[name] = true
			fmt.Printf("%s  (go)  ready   %s\n", name, strings.Join(urls, "   "))
		}
	}
	go func() {
		<-ctx.Done()
		restore() // the next one ends the process, as ever
	}()
	return s.Serve(ctx)
}
