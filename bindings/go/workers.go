// workers.go - goroutines that handle calls. One that is done waits for the next call: its stack has grown already to what
// a handler needs, and growing it was a sixth of a server's time.
package nebula

import (
	"context"
	"sync"
)

// So many wait at most; a crowd of calls leaves no more behind.
const idleMax = 256

// A job is a call to be handled.
type job struct {
	ctx     context.Context
	call    *Incoming
	request []byte
}

var workers struct {
	lock sync.Mutex
	idle []chan job // of goroutines that wait, the last one to come is the first to go
}

// begin handles a call in a goroutine that has nothing else to do.
func (j job) begin() {
	workers.lock.Lock()
	last := len(workers.idle) - 1
	if last < 0 {
		workers.lock.Unlock()
		go work(j)
		return
	}
	next := workers.idle[last]
	workers.idle = workers.idle[:last]
	workers.lock.Unlock()
	next <- j
}

func work(j job) {
	next := make(chan job, 1) // whoever sends into it need not wait
	for {
		j.call.method.run(j)
		j = job{} // the last request is not kept alive
		workers.lock.Lock()
		isEnough := len(workers.idle) == idleMax
		if !isEnough {
			workers.idle = append(workers.idle, next)
		}
		workers.lock.Unlock()
		if isEnough {
			return
		}
		j = <-next
	}
}
