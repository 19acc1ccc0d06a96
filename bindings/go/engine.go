// engine.go - the engine of this process and its ports: queues, each with a goroutine that polls it.
//
// All that the engine has to say is an event of a queue. A port takes the events of one queue, as many at once as there
// are, and hands each to whoever its tag stands for. It waits in Go's netpoller, so that no thread is blocked by it.
package nebula

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// Events of one poll at most.
const batchMax = 256

// A receiver is who a tag stands for. C memory may not hold pointers of Go's, so a tag is a number, and the port knows
// whose. Events of one call come one after the other, on the port's goroutine: nothing may block there.
type receiver interface {
	receive(p *port, e event)
}

type port struct {
	queue queueHandle
	ready syscall.RawConn // of the queue's descriptor

	lock      sync.Mutex
	receivers map[uint64]receiver

	sending sync.Mutex
	turn    atomic.Uint64 // counts the times at which it looks for what was laid down
	active  []*flow       // that have sent or laid down something since the last one
}

var lastTag atomic.Uint64

func newTag() uint64 { return lastTag.Add(1) }

var process struct {
	once   sync.Once
	err    error
	engine engineHandle
	ports  []*port
	turn   atomic.Uint32
}

// open makes the engine when it is first needed. NEBULA_REGISTRY chooses the registry.
func open() error {
	process.once.Do(func() {
		if process.engine, process.err = newEngine(); process.err != nil {
			return
		}
		for i := 0; i == 0 || i < runtime.GOMAXPROCS(0)/2; i++ {
			p, err := newPort(process.engine)
			if err != nil {
				process.err = err
				return
			}
			process.ports = append(process.ports, p)
		}
	})
	return process.err
}

// anyPort is the next one in turn.
func anyPort() *port {
	return process.ports[int(process.turn.Add(1))%len(process.ports)]
}

func newPort(engine engineHandle) (*port, error) {
	queue, err := newQueue(engine)
	if err != nil {
		return nil, err
	}
	// A descriptor of our own, for a File closes its; and not blocking, for only such a one goes to the netpoller.
	fd, err := syscall.Dup(queue.fd())
	if err != nil {
		return nil, fmt.Errorf("nebula: dup: %w", err)
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("nebula: fcntl: %w", err)
	}
	ready, err := os.NewFile(uintptr(fd), "nebula-queue").SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("nebula: %w", err)
	}
	p := &port{queue: queue, ready: ready, receivers: map[uint64]receiver{}}
	go p.run()
	return p, nil
}

func (p *port) run() {
	for {
		count := 0
		// The netpoller tells of edges, so the poll is made in here: after it has begun to listen for the next one.
		err := p.ready.Read(func(uintptr) bool {
			for isActive := p.flush(); ; {
				if count = p.queue.poll(); count != 0 {
					return true
				}
				// Whoever has just sent goes on, where the system has stopped its thread to run this one.
				if isActive {
					yieldThread()
				}
				if isActive = p.flush(); !isActive {
					return false
				}
			}
		})
		if err != nil || count < 0 {
			panic(fmt.Sprintf("nebula: the queue cannot be polled: %v %d", err, count)) // it is never freed
		}
		for i := 0; i < count; {
			e, taken := p.queue.event(i, count)
			p.handOut(e)
			i += taken
		}
		// Whoever was woken runs first; what they submit leaves with one poll.
		runtime.Gosched()
	}
}

// willTurn: the port will look for what the flow lays down now. Else what it sends has to wake the port, which then looks
// again and again for as long as it finds something.
func (p *port) willTurn(f *flow) bool {
	if len(f.laid) > 0 && p.turn.Load() == f.turn {
		return true
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	p.active = append(p.active, f)
	turn := p.turn.Load()
	isAwaited := turn == f.turn
	f.turn = turn
	return isAwaited
}

// flush hands over what was laid down; false: nothing was sent since the last time, and who sends next wakes the port.
func (p *port) flush() bool {
	p.sending.Lock()
	active, turn := p.active, p.turn.Add(1)
	p.active = nil
	p.sending.Unlock()
	for _, f := range active {
		f.flushAt(turn)
	}
	return len(active) > 0
}

func yieldThread() { syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }

func (p *port) handOut(e event) {
	p.lock.Lock()
	r := p.receivers[e.tag]
	p.lock.Unlock()
	if r != nil {
		r.receive(p, e)
	}
}

func (p *port) know(tag uint64, r receiver) {
	p.lock.Lock()
	p.receivers[tag] = r
	p.lock.Unlock()
}

func (p *port) forget(tag uint64) {
	p.lock.Lock()
	delete(p.receivers, tag)
	p.lock.Unlock()
}
