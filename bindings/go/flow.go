// flow.go - the messages of one streaming call, both ways, as bytes.
//
// Receiving: the engine hands out so much of a stream and goes on as it is consumed here, so a slow reader stops the
// sender. Sending: a message over the engine's mark is taken too, but then one waits until the peer has taken some. To
// cross into C costs more than most messages: those that come before the port has turned to the last one are laid down,
// and cross together.
package nebula

import (
	"errors"
	"sync"
)

// Messages taken are reported to the engine in portions of so many bytes or messages. It stops the sender at four times
// as many.
const (
	portionBytes    = 64 << 10
	portionMessages = 512
)

// So much is laid down at most.
const (
	runMessages = 256
	runBytes    = 16 << 10
)

var (
	errOver      = errors.New("nebula: the call is over")
	errSendEnded = errors.New("nebula: the stream of messages to send has ended")
)

// flow is filled by its port; one goroutine receives and one sends.
type flow struct {
	call uint64
	port *port

	lock      sync.Mutex
	changed   sync.Cond
	inbox     [][]byte
	ended     bool   // the peer sends no more
	over      bool   // nothing can be sent any more
	writables int    // how often there was room again
	isFull    bool   // and there is none since
	laid      run    // messages that have not gone to the engine yet
	turn      uint64 // of the port's, in which the last one was sent
	refusal   error

	handing sync.Mutex // held while they do, for their order
	spare   run

	// The receiver's.
	taken           [][]byte // what was in the inbox when it looked: it and the port meet once for many messages
	next            int      // of them
	bytes, messages int      // received, not reported yet
}

// A run is messages one after the other.
type run struct {
	bytes []byte
	sizes []uint32
}

func newFlow(p *port, call uint64) *flow {
	f := &flow{port: p, call: call}
	f.changed.L = &f.lock
	return f
}

func (f *flow) update(change func()) {
	f.lock.Lock()
	change()
	f.lock.Unlock()
	f.changed.Broadcast()
}

// on takes one of the events of a stream.
func (f *flow) on(e *event) {
	f.update(func() {
		if e.kind == eventWritable {
			f.writables++
			f.isFull = false
			return
		}
		if e.data != nil {
			f.inbox = append(f.inbox, e.data)
		}
		f.inbox = append(f.inbox, e.more...)
		f.ended = e.kind == eventEnd || e.flags&flagEnd != 0
	})
}

// end: the call is over, however it ended. What has come is still there.
func (f *flow) end() {
	f.update(func() { f.over, f.ended = true, true })
}

func (f *flow) wait(until func() bool) {
	f.lock.Lock()
	for !until() {
		f.changed.Wait()
	}
	f.lock.Unlock()
}

// receive waits for the next message; nil: there are no more.
func (f *flow) receive() []byte {
	if f.next == len(f.taken) && !f.take() {
		return nil
	}
	data := f.taken[f.next]
	f.taken[f.next] = nil
	f.next++
	f.bytes += len(data)
	f.messages++
	if f.bytes >= portionBytes || f.messages >= portionMessages {
		callConsume(f.call, uint64(f.bytes))
		f.bytes, f.messages = 0, 0
	}
	return data
}

// take waits for messages; false: there are no more.
func (f *flow) take() bool {
	f.lock.Lock()
	for len(f.inbox) == 0 && !f.ended {
		f.changed.Wait()
	}
	f.taken, f.inbox, f.next = f.inbox, f.taken[:0], 0
	f.lock.Unlock()
	return len(f.taken) > 0
}

// send takes a message, and waits while the peer does not read. errOver: the call is over.
func (f *flow) send(data []byte) error {
	f.lock.Lock()
	for f.isFull && !f.over {
		f.changed.Wait()
	}
	if f.over {
		f.refusal = errOver
	}
	if f.refusal != nil {
		defer f.lock.Unlock()
		return f.refusal
	}
	if len(data) >= runBytes || !f.port.willTurn(f) {
		f.lock.Unlock()
		return f.hand(func() int32 { return callSend(f.call, data, flagCompress) })
	}
	f.laid.bytes, f.laid.sizes = append(f.laid.bytes, data...), append(f.laid.sizes, uint32(len(data)))
	isMuch := len(f.laid.bytes) >= runBytes || len(f.laid.sizes) == runMessages
	f.lock.Unlock()
	if isMuch {
		return f.flush()
	}
	return nil
}

// endSending: no more messages come.
func (f *flow) endSending() error {
	err := f.hand(func() int32 { return callSend(f.call, nil, flagEnd) })
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.refusal == nil {
		f.refusal = errSendEnded
	}
	return err
}

func (f *flow) flush() error { return f.hand(nil) }

// hand gives the engine what was laid down, and then the next thing, if there is one.
func (f *flow) hand(next func() int32) error {
	f.handing.Lock()
	defer f.handing.Unlock()
	f.lock.Lock()
	laid, writables := f.laid, f.writables
	f.laid = f.spare
	f.lock.Unlock()
	result := int32(0)
	if len(laid.sizes) > 0 {
		result = callSendRun(f.call, laid)
	}
	if next != nil && result >= 0 {
		result = next()
	}
	f.spare = run{laid.bytes[:0], laid.sizes[:0]}
	f.lock.Lock()
	defer f.lock.Unlock()
	switch {
	case result == full:
		f.isFull = f.writables == writables
	case result == eStale:
		f.refusal = errOver
	case result == eState:
		f.refusal = errSendEnded
	case result < 0:
		f.refusal = engineErrorOf(result)
	}
	if result < 0 {
		return f.refusal
	}
	return nil
}
