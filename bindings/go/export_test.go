// export_test.go - what tests look at from within.
package nebula

import (
	"context"
	"time"
)

// OpenCalls is how many tags the ports know beside those of methods.
func OpenCalls() int {
	count := 0
	for _, p := range process.ports {
		p.lock.Lock()
		for _, r := range p.receivers {
			if _, isMethod := r.(*handler); !isMethod {
				count++
			}
		}
		p.lock.Unlock()
	}
	return count
}

// HandledCalls is how many calls a server knows.
func HandledCalls(s *Server) int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.running)
}

// ExpiredCall is a call whose deadline the engine finds passed so long before its context does. The function waits for
// its next message.
func ExpiredCall(early time.Duration) (context.Context, func() []byte) {
	c, ctx := newIncoming(&handler{server: &Server{}}, nil, &event{value: uint64(early.Microseconds())})
	c.die(DeadlineExceeded)
	return ctx, c.flow.receive
}
