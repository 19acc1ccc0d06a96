// export_test.go - what tests look at from within.
package nebula

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
